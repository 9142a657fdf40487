/**
 * Finds the contents of messages in a rendered text.
 *
 * Contents are rendered a second time between marks that no text has, and the marks are taken out again. What is left
 * has to be the text rendered without them, so a template that cuts, moves or reads contents cannot lead to a wrong
 * loss mask or a forged turn: it is noticed.
 *
 * Marks at the very ends of a content keep a template from trimming it. Where it does, the contents are rendered
 * trimmed, and the white space that the template kept is found in the text message by message. A template that trims some
 * roles and rewrites others, as Llama 3.1's writes results of tools as JSON, takes a rendering for each role to tell.
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
 * @param contents what to find, none of it blank, and by which group of them a template tells how to write it
 * @param render renders the conversation with other contents in their place
 * @returns undefined where the template changes contents beyond trimming them
 * @throws TemplateError for contents that hold every mark
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
    throw new TemplateError('a message holds all noncharacters U+FDD0 to U+FDED, expected text without');
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

/** Longest white space of which a template may keep a part; of longer ones it keeps all or nothing. */
const MAX_SPACE = 64;

/** What may be left of the white space at one end: `rest` takes the first characters of it away. */
function remainders(space: string, rest: (count: number) => string): string[] {
  if (space.length > MAX_SPACE) return [space, ''];
  return Array.from({ length: space.length + 1 }, (_, count) => rest(count));
}

/** The pieces of `text`, given those of the conversation with `cores` for contents; undefined where they differ in more. */
function withWhiteSpace(
  text: string,
  pieces: readonly MarkedPiece[],
  contents: readonly string[],
  cores: readonly string[],
): MarkedPiece[] | undefined {
  const steps: { choices: string[] }[] = [];
  // Of each piece, the steps that it is made of.
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
  // Depth first: what follows tells how much is left, at the latest the end of the text.
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
