import { MaskingError } from './error.ts';

/** Options of {@link renderMaskedRow}. */
export interface RenderOptions {
  /** Maximum columns of a line; default 80. */
  width?: number;
  /** Whether to colour masked tokens with ANSI codes; default false. */
  color?: boolean;
  /** Text of a masked token, or its text by position; default `[mask]`. */
  maskToken?: string | ((position: number) => string);
}

const CYAN_REVERSE = '\u001b[7;36m';
const RESET = '\u001b[0m';

/**
 * Summarizes a mask in one line for logs: the number of masked tokens of a row, and of runs of them.
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
 * Renders a masked row as text: the input tokens above the targets to predict.
 *
 * `tokens` are the texts of a block of T + 1 tokens, inputs and last target; `positions` are masked positions of the
 * first T, in any order. White space and control characters become visible characters.
 *
 * @returns Lines of at most `width` columns (a wider token gets its own line), without a final newline.
 * @throws MaskingError for a position outside the inputs.
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
  const maskText = typeof maskToken === 'string' ? () => maskToken : maskToken;
  const cells = Array.from({ length: numInputs }, (_, position) => {
    const isMasked = masked.has(position);
    const bottom = visibleText(tokens[position + 1]);
    const text = isMasked ? maskText(position) : tokens[position];
    const top = pad(visibleText(text), columnsOf(bottom));
    return { top, bottom, topColor: color && isMasked ? CYAN_REVERSE : '' };
  });
  return drawCells(['input ', 'target'], cells, width);
}

/** A column of {@link drawCells}; colours are ANSI codes. */
export interface PictureCell {
  top: string;
  topColor?: string;
  bottom: string;
  bottomColor?: string;
}

/**
 * Draws two lines of aligned cells, wrapped at `width` columns; the lower line is dropped where it is empty.
 *
 * @param labels texts of equal length at the start of the two lines
 */
export function drawCells(
  labels: readonly [string, string],
  cells: readonly PictureCell[],
  width: number,
): string {
  const groups: string[] = [];
  let [top, bottom] = labels;
  let columns = top.length;
  const close = () => {
    if (columns === labels[0].length) return;
    const lines = [top.trimEnd(), bottom.trimEnd()];
    groups.push(lines.filter((line) => line !== labels[1]).join('\n'));
    [top, bottom] = labels;
    columns = top.length;
  };
  for (const cell of cells) {
    const size = Math.max(columnsOf(cell.top), columnsOf(cell.bottom));
    if (columns + 1 + size > width) close();
    top += ` ${pad(cell.top, size, cell.topColor)}`;
    bottom += ` ${pad(cell.bottom, size, cell.bottomColor)}`;
    columns += 1 + size;
  }
  close();
  return groups.join('\n\n');
}

function columnsOf(text: string): number {
  return [...text].length;
}

function pad(text: string, columns: number, color = ''): string {
  const padding = ' '.repeat(Math.max(0, columns - columnsOf(text)));
  return (color === '' || text === '' ? text : `${color}${text}${RESET}`) + padding;
}

/** A text with visible characters for white space and control characters, so that no escape code reaches a terminal. */
export function visibleText(text: string): string {
  return text.replaceAll('\n', '↵').replaceAll('\t', '⇥').replace(/\s/gu, '·').replace(/\p{C}/gu, '�');
}
