/**
 * Finds the contents of messages in a rendered text.
 *
 * Contents are rendered again between marks that occur in no text, and the marks are removed. The rest must equal the
 * text rendered without marks; otherwise the template truncates, moves or parses contents, which would lead to a wrong
 * loss mask or a forged turn.
 *
 * Marks also prevent a template from trimming. If it trims, contents are rendered trimmed, and the white space that the
 * template kept is found message by message. A template that trims some roles and rewrites others, as Llama 3.1's writes
 * tool results as JSON, needs one rendering per role.
 */
import { TemplateError } from './errors.ts';
import { strip } from './python-strings.ts';

/** A part of a rendered conversation: text of the template or one of the contents. */
export interface MarkedPiece {
  text: string;
  /** Index of the content; absent for text of the template. */
  slot?: number;
}

// Noncharacters: code points that Unicode reserves for internal use.
const MARKS = Array.from({ length: 10 }, (_, i) => String.fromCharCode(0xfdd0 + 3 * i));
const next = (mark: string, by: number) => String.fromCharCode(mark.charCodeAt(0) + by);

/**
 * Splits `text` into template text and contents.
 *
 * @param contents the contents to find, none of them blank, and the group of each that a template treats alike
 * @param render renders the conversation with other contents
 * @returns undefined if the template changes contents beyond trimming them
 * @throws TemplateError for contents that contain every mark
 */
export function findContents(
  text: string,
  { contents, groups }: { contents: readonly string[]; groups: readonly string[] },
  render: (contents: readonly string[]) => string,
): MarkedPiece[] | undefined {
  if (contents.length === 0) return [{ text }];
  const all = contents.join('');
  const mark = MARKS.find((start) => [0, 1, 2].every((by) => !all.includes(next(start, by))));
  if (!mark) {
    throw new TemplateError(
      'a message contains all noncharacters U+FDD0 to U+FDED, expected text without them',
    );
  }
  const wrap = (content: string, i: number) => `${mark}${i}${next(mark, 1)}${content}${next(mark, 2)}`;
  const pieces = cutAtMarks(render(contents.map(wrap)), mark);
  if (joined(pieces) === text) return pieces;
  const trimmed = contents.map((content) => strip(content));
  const ofTrimmed = withWhiteSpace(text, cutAtMarks(render(trimmed.map(wrap)), mark), contents, trimmed);
  if (ofTrimmed) return ofTrimmed;
  const isKept = (group: string) => {
    const marked = contents.map((content, i) => (groups[i] === group ? wrap(content, i) : content));
    return joined(cutAtMarks(render(marked), mark)) === text;
  };
  const kept = new Map([...new Set(groups)].map((group) => [group, isKept(group)]));
  const cores = contents.map((content, i) => (kept.get(groups[i]) ? content : trimmed[i]));
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

/** Longest white space that a template may trim in part; longer white space is kept or dropped as a whole. */
const MAX_SPACE = 64;

/** What trimming may leave of white space; `rest` drops its first characters. */
function remainders(space: string, rest: (count: number) => string): string[] {
  if (space.length > MAX_SPACE) return [space, ''];
  return Array.from({ length: space.length + 1 }, (_, count) => rest(count));
}

/** The pieces of `text`, given those rendered with `cores` as contents; undefined if they differ in more than space. */
function withWhiteSpace(
  text: string,
  pieces: readonly MarkedPiece[],
  contents: readonly string[],
  cores: readonly string[],
): MarkedPiece[] | undefined {
  const steps: { choices: string[] }[] = [];
  // The steps of each piece.
  const extents = pieces.map(({ text: written, slot }) => {
    const first = steps.length;
    if (slot === undefined) steps.push({ choices: [written] });
    else {
      const start = contents[slot].slice(0, contents[slot].indexOf(cores[slot]));
      const end = contents[slot].slice(start.length + cores[slot].length);
      steps.push(
        { choices: remainders(start, (count) => start.slice(count)) },
        { choices: [written] },
        { choices: remainders(end, (count) => end.slice(0, end.length - count)) },
      );
    }
    return { first, last: steps.length };
  });
  // Depth-first search: the following text decides how much white space is left.
  const path: { choice: number; at: number }[] = [{ choice: 0, at: 0 }];
  const deadEnds = new Set<string>();
  while (path.length > 0) {
    const depth = path.length - 1;
    const step = path[depth];
    if (depth === steps.length && step.at === text.length) {
      return pieces.map((piece, i) => {
        const { first, last } = extents[i];
        return { ...piece, text: text.slice(path[first].at, path[last].at) };
      });
    }
    const key = `${depth} ${step.at}`;
    const isOpen = depth < steps.length && !deadEnds.has(key);
    const chosen = isOpen ? steps[depth].choices[step.choice++] : undefined;
    if (chosen === undefined) {
      deadEnds.add(key);
      path.pop();
    } else if (text.startsWith(chosen, step.at)) {
      path.push({ choice: 0, at: step.at + chosen.length });
    }
  }
  return undefined;
}
