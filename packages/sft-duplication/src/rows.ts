import { requireInteger, SftError } from './error.ts';
import { MAX_ID } from './options.ts';
import { planPacking } from './packing.ts';
import { type SftRow, TokenKind } from './types.ts';

/** Length to fill up to, and with what. */
export interface PaddingOptions {
  /** Places in a row; by default as many as are taken. */
  length?: number;
  /** Id read and predicted on padding, where no loss counts; any id of the vocabulary, 0 when absent. */
  padId?: number;
}

/**
 * Joins rows into one, each a segment of its own, and pads it to a length.
 *
 * @throws SftError when the rows are longer than the length.
 */
export function joinRows(rows: readonly SftRow[], { length, padId = 0 }: PaddingOptions = {}): SftRow {
  const numPlaces = rows.reduce((sum, { inputs }) => sum + inputs.length, 0);
  const joined = emptyRow(length ?? numPlaces, padId);
  if (numPlaces > joined.inputs.length) {
    throw new SftError(
      `joinRows: the rows do not fit, got ${numPlaces} places, expected at most ${length}; raise length or lower maxLength`,
    );
  }
  let filled = 0;
  let numSegments = 0;
  for (const row of rows) {
    joined.inputs.set(row.inputs, filled);
    joined.targets.set(row.targets, filled);
    joined.lossMask.set(row.lossMask, filled);
    joined.positions.set(row.positions, filled);
    joined.kinds.set(row.kinds, filled);
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
  /** Places in every packed row; at least as many as the longest row given. */
  length: number;
  /** Id on padding; any id of the vocabulary, 0 when absent. */
  padId?: number;
  /** Rows that are packed with each other; 16,384 when absent. */
  window?: number;
}

/** What packing saved. Shares of padding are of all places, from 0 to 1. */
export interface PackingStatistics {
  /** Rows given. */
  numRows: number;
  /** Rows made. */
  numPackedRows: number;
  /** Places that are no padding, the same before and after. */
  numPlaces: number;
  /** Places of the longest row given. */
  longest: number;
  /** Share of padding in the packed rows. */
  padding: number;
  /** Share of padding if each row given were padded to the longest one. */
  paddingToLongest: number;
  /** Share of padding if each row given were alone in a row of `length`. */
  paddingAlone: number;
}

/**
 * Packs rows into rows of one length, each given row whole and a segment of its own (see {@link planPacking}).
 *
 * @throws SftError when a row is longer than the length.
 */
export function packRows(
  rows: readonly SftRow[],
  { length, padId, window }: PackingOptions,
): { rows: SftRow[]; statistics: PackingStatistics } {
  const lengths = rows.map(({ inputs }) => inputs.length);
  const plan = planPacking(lengths, { length, window });
  const packed = plan.map((members) =>
    joinRows(
      Array.from(members, (member) => rows[member]),
      { length, padId },
    ),
  );
  const numPlaces = lengths.reduce((sum, count) => sum + count, 0);
  const longest = lengths.reduce((most, count) => Math.max(most, count), 0);
  const padding = (numRows: number, size: number) =>
    numRows * size === 0 ? 0 : 1 - numPlaces / (numRows * size);
  return {
    rows: packed,
    statistics: {
      numRows: rows.length,
      numPackedRows: packed.length,
      numPlaces,
      longest,
      padding: padding(packed.length, length),
      paddingToLongest: padding(rows.length, longest),
      paddingAlone: padding(rows.length, length),
    },
  };
}

/** Rows of one length as flat arrays of `numRows · length`, ready for tensors of shape `[numRows, length]`. */
export interface SftBatch extends SftRow {
  numRows: number;
  length: number;
  /** Places that carry loss: what the sum of the losses is divided by. */
  numLearned: number;
}

/**
 * Stacks rows into a batch; shorter ones are padded to `length`, by default the longest row.
 *
 * @throws SftError when a row is longer than the length.
 */
export function stackRows(rows: readonly SftRow[], { length, padId = 0 }: PaddingOptions = {}): SftBatch {
  const places = length ?? rows.reduce((most, { inputs }) => Math.max(most, inputs.length), 0);
  const batch = { ...emptyRow(rows.length * places, padId), numRows: rows.length, length: places };
  let numLearned = 0;
  for (const [index, row] of rows.entries()) {
    const padded = row.inputs.length === places ? row : joinRows([row], { length: places, padId });
    const start = index * places;
    batch.inputs.set(padded.inputs, start);
    batch.targets.set(padded.targets, start);
    batch.lossMask.set(padded.lossMask, start);
    batch.segmentIds.set(padded.segmentIds, start);
    batch.positions.set(padded.positions, start);
    batch.kinds.set(padded.kinds, start);
    for (const learned of row.lossMask) numLearned += learned;
  }
  return { ...batch, numLearned };
}
