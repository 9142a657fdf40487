/** `batch.json` in the run directory: rows of a recent batch as text with their masks, for the dashboard. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BatchPiece, BatchRow, RecentBatch } from '@meap/dashboard';
import { writeFileAtomic } from '@meap/files';
import type { BatchSource, Position } from '@meap/trainer';

/** The name of the file in the run directory. */
const BATCH_FILE = 'batch.json';

/** A row before it is decoded. */
export interface ShownRow {
  /** Original ids, also at masked positions; without padding. */
  ids: ArrayLike<number>;
  /** Kind of each token. */
  kinds: readonly BatchPiece['kind'][];
  /** Names of parts by the position at which they begin. */
  parts?: ReadonlyMap<number, string>;
}

/** Options of {@link logBatches}. */
export interface BatchLogOptions<Batch> {
  /** The run directory. */
  directory: string;
  /** Returns the first rows of a batch, at most {@link MAX_ROWS}. */
  rows: (batch: Batch, position: Position) => ShownRow[];
  /** Returns the text of ids with special tokens. */
  decode: (ids: ArrayLike<number>) => Promise<string>;
}

/** A source that writes some of its batches to a file. */
export interface LoggedBatches<Batch> {
  /** The batches of the source. */
  batches: BatchSource<Batch>;
  /** Waits for a pending write. */
  settled: () => Promise<void>;
}

/** Most rows written of a batch. */
export const MAX_ROWS = 4;

/** Most tokens written of a row. */
const MAX_TOKENS = 192;

/** Seconds between two batches, so that a write of some milliseconds does not slow training measurably. */
const EVERY_SECONDS = 10;

/**
 * Returns the batches of a source, and writes one to `batch.json` every ten seconds.
 *
 * Ignores write errors: the logs of the run report a full disk.
 */
export function logBatches<Batch>(
  source: BatchSource<Batch>,
  options: BatchLogOptions<Batch>,
): LoggedBatches<Batch> {
  let last = Number.NEGATIVE_INFINITY;
  let underWay: Promise<void> | undefined;
  const batches = async (position: Position) => {
    const batch = await source(position);
    const now = performance.now();
    if (!underWay && now - last >= EVERY_SECONDS * 1000) {
      last = now;
      underWay = write(options, options.rows(batch, position), position.step + 1)
        .catch(() => {})
        .finally(() => {
          underWay = undefined;
        });
    }
    return batch;
  };
  return { batches, settled: async () => underWay };
}

async function write<Batch>(
  { directory, decode }: BatchLogOptions<Batch>,
  rows: readonly ShownRow[],
  step: number,
): Promise<void> {
  const batch: RecentBatch = { step, rows: await Promise.all(rows.map((row) => describeRow(row, decode))) };
  writeFileAtomic(join(directory, BATCH_FILE), `${JSON.stringify(batch)}\n`);
}

/** Splits a row into pieces of one kind. */
export async function describeRow(
  { ids, kinds, parts = new Map() }: ShownRow,
  decode: (ids: ArrayLike<number>) => Promise<string>,
): Promise<BatchRow> {
  const shown = Math.min(ids.length, MAX_TOKENS);
  const starts: number[] = [];
  for (let i = 0; i < shown; i++) {
    if (i === 0 || kinds[i] !== kinds[i - 1] || parts.has(i)) starts.push(i);
  }
  const isFresh = (start: number) => start === 0 || parts.has(start);
  const pieces = await Promise.all(
    starts.map(async (start, index): Promise<BatchPiece> => {
      // Decoded with the preceding pieces of its part: a tokenizer drops the space of a first word, and a character that
      // two pieces share belongs to the second.
      const origin = starts.findLast((at) => at <= start && isFresh(at))!;
      const upTo = async (end: number) => {
        const text = await decode(Array.from(ids).slice(origin, end));
        return end < ids.length ? text.replace(/\ufffd+$/, '') : text;
      };
      const [before, whole] = await Promise.all([upTo(start), upTo(starts[index + 1] ?? shown)]);
      const part = parts.get(start);
      return { text: rest(before, whole), kind: kinds[start], ...(part !== undefined && { part }) };
    }),
  );
  const numMasked = kinds.filter((kind) => kind === 'masked').length;
  return { numTokens: ids.length, numMasked, pieces, ...(shown < ids.length && { isCut: true }) };
}

/** Returns the part of `whole` after `before`. */
function rest(before: string, whole: string): string {
  let same = 0;
  while (same < before.length && before[same] === whole[same]) same++;
  return whole.slice(same);
}

/**
 * Returns the first row of a run's recent batch as a model reads it, shortened to about `width` characters, with `mask`
 * for every masked part; undefined if the run has none, or nothing in it is masked.
 */
export function recentMaskedRow(directory: string, width: number, mask: string): string | undefined {
  let row: BatchRow | undefined;
  try {
    const batch = JSON.parse(readFileSync(join(directory, BATCH_FILE), 'utf8')) as RecentBatch;
    row = batch.rows.find(({ numMasked }) => numMasked > 0);
  } catch {
    return undefined;
  }
  if (!row) return undefined;
  const text = row.pieces.map(({ kind, text }) => (kind === 'masked' ? mask : text)).join('');
  const line = text.replaceAll(/\s+/g, ' ').trim();
  const end = line.lastIndexOf(' ', width);
  const shown = line.length > width ? `${line.slice(0, end > 0 ? end : width)} …` : line;
  return `${row.numMasked} of ${row.numTokens} tokens\n${shown}`;
}
