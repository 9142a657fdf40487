/**
 * Finds the contents of messages in a rendered text.
 *
 * Contents are rendered a second time between marks that no text has, and the marks are taken out again. What is left
 * has to be the text rendered without them, so a template that cuts, moves or reads contents cannot lead to a wrong
 * loss mask or a forged turn: it is noticed.
 *
 * Marks at the very ends of a content keep a template from trimming it. Where it does, the contents are rendered
 * trimmed, and the white space that the template kept is found in the text message by message. A template that trims some
 * messages and rewrites others, as Llama 3.1's writes results of tools as JSON, takes a rendering for each to tell.
 */
import { TemplateError } from './errors.ts';
import { strip } from './python-strings.ts';

/** A part of a rendered conversation: text of the template, or one of the contents. */
export interface MarkedPiece {
  text: string;
  /** Index of the content; absent for text of the template. */
  slot?: number;
}

// Code points that Unicode keeps for programs' own use inside.
const MARKS = Array.from({ length: 10 }, (_, i) => String.fromCharCode(0xfdd0 + 3 * i));
const next = (mark: string, by: number) => String.fromCharCode(mark.charCodeAt(0) + by);

/**
 * The parts of `text`, which joined are `text`.
 *
 * @param contents what to find, none of it blank
 * @param render renders the conversation with other contents in their place
 * @returns undefined where the template changes contents beyond trimming them
 * @throws TemplateError for contents that hold every mark
 */
export function findContents(
  text: string,
  contents: readonly string[],
  render: (contents: readonly string[]) => string,
): MarkedPiece[] | undefined {
  if (contents.length === 0) return [{ text }];
  const all = contents.join('');
  const mark = MARKS.find((start) => [0, 1, 2].every((by) => !all.includes(next(start, by))));
  if (!mark) {
    throw new TemplateError('a message holds all noncharacters U+FDD0 to U+FDED, expected text without');
  }
  const wrap = (content: string, i: number) => `${mark}${i}${next(mark, 1)}${content}${next(mark, 2)}`;
  const pieces = cutAtMarks(render(contents.map(wrap)), mark);
  if (joined(pieces) === text) return pieces;
  const trimmed = contents.map((content) => strip(content));
  const ofTrimmed = withWhiteSpace(text, cutAtMarks(render(trimmed.map(wrap)), mark), contents, trimmed);
  if (ofTrimmed) return ofTrimmed;
  const cores = contents.map((content, i) => {
    const marked = contents.map((other, j) => (i === j ? wrap(other, j) : other));
    return trimmed[i] !== content && joined(cutAtMarks(render(marked), mark)) === text ? content : trimmed[i];
  });
  return withWhiteSpace(text, cutAtMarks(render(cores.map(wrap)), mark), contents, cores);
}

function joined(pieces: readonly MarkedPiece[]): string {
  return pieces.map((piece) => piece.text).join('');
}

function cutAtMarks(text: string, mark: string): MarkedPiece[] {
  const pieces: MarkedPiece[] = [];
  const marked = new RegExp(`${mark}(\\d+)${next(mark, 1)}([^${next(mark, 2)}]*)${next(mark, 2)}`, 'g');
  let at = 0;
  for (const match of text.matchAll(marked)) {
    if (match.index > at) pieces.push({ text: text.slice(at, match.index) });
    pieces.push({ text: match[2], slot: Number(match[1]) });
    at = match.index + match[0].length;
  }
  if (at < text.length) pieces.push({ text: text.slice(at) });
  return pieces;
}

/** How a content may stand in the text: with its white space at both ends, one end, or none. */
function variants(content: string, core: string, written: string): string[] {
  const start = content.slice(0, content.indexOf(core));
  const end = content.slice(start.length + core.length);
  return [...new Set([`${start}${written}${end}`, `${written}${end}`, `${start}${written}`, written])];
}

/** The pieces of `text`, given those of the conversation with `cores` for contents; undefined where they differ in more. */
function withWhiteSpace(
  text: string,
  trimmed: readonly MarkedPiece[],
  contents: readonly string[],
  cores: readonly string[],
): MarkedPiece[] | undefined {
  const choices = trimmed.map(({ text: written, slot }) =>
    slot === undefined ? [written] : variants(contents[slot], cores[slot], written),
  );
  // Depth first: what follows a piece tells which variant it is, at the latest the end of the text.
  const path: { choice: number; at: number }[] = [{ choice: 0, at: 0 }];
  const deadEnds = new Set<string>();
  while (path.length > 0) {
    const depth = path.length - 1;
    const step = path[depth];
    if (depth === choices.length) {
      if (step.at === text.length) {
        return trimmed.map((piece, i) => ({ ...piece, text: choices[i][path[i].choice - 1] }));
      }
      path.pop();
      continue;
    }
    const key = `${depth} ${step.at}`;
    const chosen = deadEnds.has(key) ? undefined : choices[depth][step.choice++];
    if (chosen === undefined) {
      deadEnds.add(key);
      path.pop();
    } else if (text.startsWith(chosen, step.at)) {
      path.push({ choice: 0, at: step.at + chosen.length });
    }
  }
  return undefined;
}
