import { requireInteger, SftError } from './error.ts';
import { MAX_ID } from './options.ts';
import { planPacking } from './packing.ts';
import { type SftRow, TokenKind } from './types.ts';

/** Length and id of padding. */
export interface PaddingOptions {
  /** Positions of a row; by default those in use. */
  length?: number;
  /** Id of inputs and targets on padding, which has no loss; any id of the vocabulary, default 0. */
  padId?: number;
}

/**
 * Joins rows into one, each as its own segment, and pads it to a length.
 *
 * @throws SftError if the rows are longer than the length
 */
export function joinRows(rows: readonly SftRow[], { length, padId = 0 }: PaddingOptions = {}): SftRow {
  const numPositions = rows.reduce((sum, { inputs }) => sum + inputs.length, 0);
  const joined = emptyRow(length ?? numPositions, padId);
  if (numPositions > joined.inputs.length) {
    throw new SftError(
      `joinRows: the rows do not fit, got ${numPositions} positions, expected at most ${length}; raise length or lower maxLength`,
    );
  }
  let filled = 0;
  let numSegments = 0;
  for (const row of rows) {
    copyRow(row, joined, filled);
    const firstSegment = numSegments;
    for (let i = 0; i < row.segmentIds.length; i++) {
      const segment = firstSegment + row.segmentIds[i];
      joined.segmentIds[filled++] = segment;
      numSegments = Math.max(numSegments, segment + 1);
    }
  }
  joined.segmentIds.fill(numSegments, filled);
  return joined;
}

function copyRow(row: SftRow, target: SftRow, start: number): void {
  const names = ['inputs', 'targets', 'lossMask', 'segmentIds', 'positions', 'kinds'] as const;
  for (const name of names) target[name].set(row[name], start);
}

function emptyRow(length: number, padId: number): SftRow {
  requireInteger('joinRows', 'length', length, 0, MAX_ID);
  requireInteger('joinRows', 'padId', padId, 0, MAX_ID);
  return {
    inputs: new Int32Array(length).fill(padId),
    targets: new Int32Array(length).fill(padId),
    lossMask: new Uint8Array(length),
    segmentIds: new Int32Array(length),
    positions: new Int32Array(length),
    kinds: new Uint8Array(length).fill(TokenKind.padding),
  };
}

/** Options of {@link packRows}. */
export interface PackingOptions {
  /** Positions of a packed row; at least those of the longest row. */
  length: number;
  /** Id of padding; any id of the vocabulary, default 0. */
  padId?: number;
  /** Number of rows that are packed together; default 16,384. */
  window?: number;
}

/** Statistics of packing. Padding is a share of all positions, from 0 to 1. */
export interface PackingStatistics {
  /** Rows before packing. */
  numRows: number;
  /** Rows after packing. */
  numPackedRows: number;
  /** Positions without padding, the same before and after. */
  numPositions: number;
  /** Positions of the longest row before packing. */
  longest: number;
  /** Padding of the packed rows. */
  padding: number;
  /** Padding if every row were padded to the longest one. */
  paddingToLongest: number;
  /** Padding if every row were padded to `length`. */
  paddingAlone: number;
}

/**
 * Packs rows into rows of one length; each row stays whole and is its own segment (see {@link planPacking}).
 *
 * @throws SftError if a row is longer than the length
 */
export function packRows(
  rows: readonly SftRow[],
  { length, padId, window }: PackingOptions,
): { rows: SftRow[]; statistics: PackingStatistics } {
  const lengths = rows.map(({ inputs }) => inputs.length);
  const plan = planPacking(lengths, { length, window });
  const membersOf = (members: Int32Array) => Array.from(members, (member) => rows[member]);
  const packed = plan.map((members) => joinRows(membersOf(members), { length, padId }));
  const numPositions = lengths.reduce((sum, count) => sum + count, 0);
  const longest = lengths.reduce((most, count) => Math.max(most, count), 0);
  const padding = (numRows: number, size: number) =>
    numRows * size === 0 ? 0 : 1 - numPositions / (numRows * size);
  return {
    rows: packed,
    statistics: {
      numRows: rows.length,
      numPackedRows: packed.length,
      numPositions,
      longest,
      padding: padding(packed.length, length),
      paddingToLongest: padding(rows.length, longest),
      paddingAlone: padding(rows.length, length),
    },
  };
}

/** Rows of one length as flat arrays of `numRows · length`, for tensors of shape `[numRows, length]`. */
export interface SftBatch extends SftRow {
  numRows: number;
  length: number;
  /** Positions with loss: the divisor of the sum of losses. */
  numLearned: number;
}

/**
 * Stacks rows into a batch; shorter rows are padded to `length`, by default that of the longest row.
 *
 * @throws SftError if a row is longer than the length
 */
export function stackRows(rows: readonly SftRow[], { length, padId = 0 }: PaddingOptions = {}): SftBatch {
  const size = length ?? rows.reduce((longest, { inputs }) => Math.max(longest, inputs.length), 0);
  const batch = { ...emptyRow(rows.length * size, padId), numRows: rows.length, length: size };
  let numLearned = 0;
  for (const [index, row] of rows.entries()) {
    const padded = row.inputs.length === size ? row : joinRows([row], { length: size, padId });
    copyRow(padded, batch, index * size);
    for (const learned of row.lossMask) numLearned += learned;
  }
  return { ...batch, numLearned };
}
