import { drawCells, visibleText } from '@meap/meap-masking';
import { type SftRow, TokenKind } from './types.ts';

/** Options of {@link renderRow}. */
export interface RenderRowOptions {
  /** Maximum columns of a line; default 80. */
  width?: number;
  /** Whether to add ANSI colours: prompts dim, masks reversed, targets with loss green; default false. */
  color?: boolean;
}

const DIM = '\u001b[2m';
const GREEN = '\u001b[32m';
const CYAN_REVERSE = '\u001b[7;36m';

/**
 * Renders a row as text: the inputs, and below each the target if it has loss.
 *
 * Original and masked copy have separate headings; padding is omitted. White space and control characters become
 * visible characters, so that no escape code reaches the terminal.
 *
 * @param text returns the text of an id, also of the mask id
 * @returns lines of at most `width` columns (a wider token gets its own line), without a final newline
 */
export function renderRow(
  row: SftRow,
  text: (id: number) => string,
  { width = 80, color = false }: RenderRowOptions = {},
): string {
  const cellAt = (i: number) => ({
    top: visibleText(text(row.inputs[i])),
    topColor: color ? inputColor(inputKind(row, i)) : '',
    bottom: row.lossMask[i] ? visibleText(text(row.targets[i])) : '',
    bottomColor: color && row.lossMask[i] ? GREEN : '',
  });
  return partsOf(row)
    .map(({ heading, start, end }) => {
      const cells = Array.from({ length: end - start }, (_, i) => cellAt(start + i));
      return `${heading}\n${drawCells(['input ', 'learns'], cells, width)}`;
    })
    .join('\n\n');
}

interface Part {
  heading: string;
  start: number;
  end: number;
}

/** Splits a row at the start of each segment and of a copy within one. */
function partsOf(row: SftRow): Part[] {
  const starts: number[] = [];
  const { segmentIds, kinds } = row;
  for (let i = 0; i < kinds.length && kinds[i] !== TokenKind.padding; i++) {
    const isNewSegment = i === 0 || segmentIds[i] !== segmentIds[i - 1];
    if (isNewSegment || isCopy(inputKind(row, i)) !== isCopy(inputKind(row, i - 1))) starts.push(i);
  }
  const padding = kinds.indexOf(TokenKind.padding);
  const numPositions = padding === -1 ? kinds.length : padding;
  return starts.map((start, index) => {
    const end = starts[index + 1] ?? numPositions;
    let numLearned = 0;
    for (let i = start; i < end; i++) numLearned += row.lossMask[i];
    const name = isCopy(inputKind(row, start)) ? 'masked copy' : 'original';
    const seesOriginal = start > 0 && segmentIds[start] === segmentIds[start - 1];
    const heading = `${name}${seesOriginal ? ', which sees the original' : ''}: ${end - start} positions, ${numLearned} learned`;
    return { heading, start, end };
  });
}

/** The {@link TokenKind} of the input at a position: that of the previous target; the first of a segment is a prompt. */
export function inputKind({ kinds, segmentIds }: SftRow, position: number): number {
  if (position > 0 && segmentIds[position] === segmentIds[position - 1]) return kinds[position - 1];
  return isCopy(kinds[position]) ? TokenKind.copyPrompt : TokenKind.prompt;
}

function isCopy(kind: number): boolean {
  return kind >= TokenKind.copyPrompt;
}

function inputColor(kind: number): string {
  if (kind === TokenKind.masked) return CYAN_REVERSE;
  return kind === TokenKind.prompt || kind === TokenKind.copyPrompt ? DIM : '';
}
