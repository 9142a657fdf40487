/**
 * Finds the contents of messages in a rendered text.
 *
 * Contents are rendered a second time between marks that no text has, and the marks are taken out again. What is left
 * has to be the text rendered without them, so a template that cuts, moves or reads contents cannot lead to a wrong
 * loss mask or a forged turn: it is noticed.
 *
 * Marks at the very ends of a content keep a template from trimming it. Where it does, the contents are rendered a
 * third time, trimmed, and the white space that the template kept is found in the text message by message.
 */
import { TemplateError } from './errors.ts';

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
  const trimmed = cutAtMarks(render(contents.map((content, i) => wrap(content.trim(), i))), mark);
  return withWhiteSpace(text, trimmed, contents);
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
function variants(content: string, core: string): string[] {
  const start = content.slice(0, content.length - content.trimStart().length);
  const end = content.slice(content.trimEnd().length);
  return [...new Set([`${start}${core}${end}`, `${core}${end}`, `${start}${core}`, core])];
}

/** The pieces of `text`, given those of the conversation with trimmed contents; undefined where they differ in more. */
function withWhiteSpace(
  text: string,
  trimmed: readonly MarkedPiece[],
  contents: readonly string[],
): MarkedPiece[] | undefined {
  const choices = trimmed.map(({ text: core, slot }) =>
    slot === undefined ? [core] : variants(contents[slot], core),
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
