/** Sets of characters, and their bytes in UTF-8. */
import { choice, type Expression, sequence } from './grammar.ts';

/** Ranges of code points, ends included. */
export type CodePoints = readonly (readonly [number, number])[];

const MAX_CODE_POINT = 0x10ffff;
/** First code points of the lengths in UTF-8, and of the surrogates, which UTF-8 lacks. */
const BORDERS = [0, 0x80, 0x800, 0xd800, 0xe000, 0x10000, MAX_CODE_POINT + 1];
const SURROGATES = 3;

/** Sorts and merges ranges. */
function normalized(ranges: CodePoints): [number, number][] {
  const merged: [number, number][] = [];
  for (const [lo, hi] of [...ranges].sort(([a], [b]) => a - b)) {
    const last = merged.at(-1);
    if (last && lo <= last[1] + 1) last[1] = Math.max(last[1], hi);
    else merged.push([lo, hi]);
  }
  return merged;
}

/** The characters that are in none of the ranges. */
export function complement(ranges: CodePoints): CodePoints {
  const rest: [number, number][] = [];
  let at = 0;
  for (const [lo, hi] of normalized(ranges)) {
    if (lo > at) rest.push([at, lo - 1]);
    at = hi + 1;
  }
  if (at <= MAX_CODE_POINT) rest.push([at, MAX_CODE_POINT]);
  return rest;
}

/** The characters that are in both. */
export function intersection(a: CodePoints, b: CodePoints): CodePoints {
  return complement([...complement(a), ...complement(b)]);
}

/** The characters as UTF-8; surrogates are omitted. */
export function utf8(ranges: CodePoints): Expression {
  const options: Expression[] = [];
  for (const [index, border] of BORDERS.slice(0, -1).entries()) {
    if (index === SURROGATES) continue;
    const numTrailing = [0, 1, 2, 0, 2, 3][index];
    for (const [lo, hi] of intersection(ranges, [[border, BORDERS[index + 1] - 1]])) {
      options.push(...byteRanges(lo, hi, numTrailing));
    }
  }
  return choice(...options);
}

const LEADING = [0, 0xc0, 0xe0, 0xf0];

/** Byte sequences of a range of characters with the same number of bytes. */
function byteRanges(lo: number, hi: number, numTrailing: number): Expression[] {
  const lead = LEADING[numTrailing];
  return splitRange(lo, hi, numTrailing).map((bytes) =>
    sequence(
      ...bytes.map(([a, b], i) => ({
        bytes: [i === 0 ? ([lead | a, lead | b] as const) : ([0x80 | a, 0x80 | b] as const)],
      })),
    ),
  );
}

/** Splits a range into products of ranges of six bits, the first of more. */
function splitRange(lo: number, hi: number, numTrailing: number): [number, number][][] {
  if (numTrailing === 0) return [[[lo, hi]]];
  const size = 64 ** numTrailing;
  const [first, last] = [Math.floor(lo / size), Math.floor(hi / size)];
  const rest = (from: number, to: number, high: [number, number]) =>
    splitRange(from, to, numTrailing - 1).map((bytes) => [high, ...bytes]);
  const [from, to] = [lo % size, hi % size];
  if (first === last) return rest(from, to, [first, first]);
  const parts: [number, number][][] = [];
  const isLowWhole = from === 0;
  const isHighWhole = to === size - 1;
  if (!isLowWhole) parts.push(...rest(from, size - 1, [first, first]));
  const [low, high] = [isLowWhole ? first : first + 1, isHighWhole ? last : last - 1];
  if (low <= high) parts.push(...rest(0, size - 1, [low, high]));
  if (!isHighWhole) parts.push(...rest(0, to, [last, last]));
  return parts;
}
