import { MaskingError } from './error.ts';

/** Options of {@link renderMaskedRow}. */
export interface RenderOptions {
  /** Columns a line may take; 80 when absent. */
  width?: number;
  /** Colours masked tokens with ANSI codes, beside marking them; off when absent. */
  color?: boolean;
  /** Text shown in place of a masked token; `[mask]` when absent. */
  maskToken?: string;
}

const LABELS = ['input ', 'target'];
const CYAN_REVERSE = '\u001b[7;36m';
const RESET = '\u001b[0m';

/**
 * One line on a mask for logs: how many tokens of a row are masked, in how many runs.
 *
 * `length` is the row's length in tokens (T); `positions` are the masked positions in ascending order.
 */
export function describeMask({ length, positions }: { length: number; positions: Int32Array }): string {
  let numRuns = 0;
  let run = 0;
  let longest = 0;
  for (let i = 0; i < positions.length; i++) {
    run = i > 0 && positions[i] === positions[i - 1] + 1 ? run + 1 : 1;
    if (run === 1) numRuns++;
    longest = Math.max(longest, run);
  }
  const share = length === 0 ? 0 : (100 * positions.length) / length;
  return (
    `${positions.length} of ${length} tokens masked (${share.toFixed(1)} %)` +
    (numRuns === 0 ? '' : ` in ${numRuns} ${numRuns === 1 ? 'run' : 'runs'}, the longest ${longest}`)
  );
}

/**
 * A text picture of a masked row for people: what the model reads above what it has to predict there.
 *
 * `tokens` are the texts of a block of T + 1 tokens, inputs and last target; `positions` the masked ones of
 * the first T, in any order. White space and control characters are drawn as visible signs.
 *
 * @returns Lines of at most `width` columns (one token wider than that gets a line of its own), no final newline.
 * @throws MaskingError when a position lies outside the inputs.
 */
export function renderMaskedRow(
  tokens: readonly string[],
  positions: Iterable<number>,
  { width = 80, color = false, maskToken = '[mask]' }: RenderOptions = {},
): string {
  const numInputs = Math.max(0, tokens.length - 1);
  const masked = new Set(positions);
  for (const position of masked) {
    if (!Number.isInteger(position) || position < 0 || position >= numInputs) {
      throw new MaskingError(
        `renderMaskedRow: a masked position is not an input, got ${position}, expected 0 to ${numInputs - 1} ` +
          `(${tokens.length} tokens are ${numInputs} inputs and the last target)`,
      );
    }
  }
  const groups: string[] = [];
  let lines = [...LABELS];
  let columns = LABELS[0].length;
  for (let position = 0; position < numInputs; position++) {
    const input = masked.has(position) ? maskToken : visible(tokens[position]);
    const target = visible(tokens[position + 1]);
    const cell = Math.max([...input].length, [...target].length);
    if (columns + 1 + cell > width && columns > LABELS[0].length) {
      groups.push(joinLines(lines));
      lines = [...LABELS];
      columns = LABELS[0].length;
    }
    const paddedInput = pad(input, cell);
    lines[0] += ` ${color && masked.has(position) ? `${CYAN_REVERSE}${paddedInput}${RESET}` : paddedInput}`;
    lines[1] += ` ${pad(target, cell)}`;
    columns += 1 + cell;
  }
  if (columns > LABELS[0].length) groups.push(joinLines(lines));
  return groups.join('\n\n');
}

function joinLines(lines: string[]): string {
  return lines.map((line) => line.trimEnd()).join('\n');
}

function pad(text: string, columns: number): string {
  return text + ' '.repeat(columns - [...text].length);
}

/** Text of a corpus may hold terminal escapes; nothing of it may reach a terminal as a command. */
function visible(text: string): string {
  return text.replaceAll('\n', '↵').replaceAll('\t', '⇥').replace(/\s/gu, '·').replace(/\p{C}/gu, '�');
}
