import { type SftRow, TokenKind } from './types.ts';

/** Options of {@link renderRow}. */
export interface RenderRowOptions {
  /** Columns a line may take; 80 when absent. */
  width?: number;
  /** Adds ANSI colours: prompts dim, masks reversed, what is learned green; off when absent. */
  color?: boolean;
}

const LABELS = ['input ', 'learns'];
const DIM = '\u001b[2m';
const GREEN = '\u001b[32m';
const CYAN_REVERSE = '\u001b[7;36m';
const RESET = '\u001b[0m';

/**
 * A text picture of a row for people: what the model reads and, below each token, what it learns to predict there.
 *
 * Where the lower line is empty no loss counts. Original and masked copy stand under headings of their own; padding is
 * left out. White space and control characters are drawn as visible signs, so that no text reaches the terminal as a
 * command.
 *
 * @param text the text of a token, by id; the mask id, too.
 * @returns lines of at most `width` columns (one token wider than that gets a line of its own), no final newline.
 */
export function renderRow(
  row: SftRow,
  text: (id: number) => string,
  { width = 80, color = false }: RenderRowOptions = {},
): string {
  const paint = (code: string, cell: string) => (color && code !== '' ? `${code}${cell}${RESET}` : cell);
  return partsOf(row)
    .map(({ heading, start, end }) => {
      const groups: string[] = [];
      let lines = [...LABELS];
      let columns = LABELS[0].length;
      for (let i = start; i < end; i++) {
        const input = visible(text(row.inputs[i]));
        const target = row.lossMask[i] ? visible(text(row.targets[i])) : '';
        const cell = Math.max(columnsOf(input), columnsOf(target));
        if (columns + 1 + cell > width && columns > LABELS[0].length) {
          groups.push(joinLines(lines));
          lines = [...LABELS];
          columns = LABELS[0].length;
        }
        lines[0] += ` ${paint(inputColor(inputKind(row, i)), input)}${' '.repeat(cell - columnsOf(input))}`;
        lines[1] += ` ${paint(target === '' ? '' : GREEN, target)}${' '.repeat(cell - columnsOf(target))}`;
        columns += 1 + cell;
      }
      groups.push(joinLines(lines));
      return [heading, ...groups].join('\n');
    })
    .join('\n\n');
}

interface Part {
  heading: string;
  start: number;
  end: number;
}

/** Cuts a row where a segment or the copy within one starts. */
function partsOf(row: SftRow): Part[] {
  const starts: number[] = [];
  const { segmentIds, kinds } = row;
  for (let i = 0; i < kinds.length && kinds[i] !== TokenKind.padding; i++) {
    const isNewSegment = i === 0 || segmentIds[i] !== segmentIds[i - 1];
    if (isNewSegment || isCopy(inputKind(row, i)) !== isCopy(inputKind(row, i - 1))) starts.push(i);
  }
  const padding = kinds.indexOf(TokenKind.padding);
  const numPlaces = padding === -1 ? kinds.length : padding;
  return starts.map((start, index) => {
    const end = starts[index + 1] ?? numPlaces;
    let numLearned = 0;
    for (let i = start; i < end; i++) numLearned += row.lossMask[i];
    const name = isCopy(inputKind(row, start)) ? 'masked copy' : 'original';
    const seesOriginal = start > 0 && segmentIds[start] === segmentIds[start - 1];
    const heading = `${name}${seesOriginal ? ', which sees the original' : ''}: ${end - start} places, ${numLearned} learned`;
    return { heading, start, end };
  });
}

/** The {@link TokenKind} of the token read at a place: that of the target before it; a segment's first is a prompt's. */
export function inputKind({ kinds, segmentIds }: SftRow, place: number): number {
  if (place > 0 && segmentIds[place] === segmentIds[place - 1]) return kinds[place - 1];
  return isCopy(kinds[place]) ? TokenKind.copyPrompt : TokenKind.prompt;
}

function isCopy(kind: number): boolean {
  return kind >= TokenKind.copyPrompt;
}

function inputColor(kind: number): string {
  if (kind === TokenKind.masked) return CYAN_REVERSE;
  return kind === TokenKind.prompt || kind === TokenKind.copyPrompt ? DIM : '';
}

function joinLines(lines: string[]): string {
  return lines
    .map((line) => line.trimEnd())
    .filter((line) => line !== LABELS[1])
    .join('\n');
}

function columnsOf(text: string): number {
  return [...text].length;
}

function visible(text: string): string {
  return text.replaceAll('\n', '↵').replaceAll('\t', '⇥').replace(/\s/gu, '·').replace(/\p{C}/gu, '�');
}
