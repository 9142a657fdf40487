/** `batch.json` in the run directory: rows of a recent batch as text, with what is masked, for people to look at. */
import { join } from 'node:path';
import type { BatchPiece, BatchRow, RecentBatch } from '@meap/dashboard';
import { writeFileAtomic } from '@meap/files';
import type { BatchSource, Position } from '@meap/trainer';

/** A row to be shown, before it is decoded. */
export interface ShownRow {
  /** The original ids, also where the model reads masks; without padding. */
  ids: ArrayLike<number>;
  /** Of each token. */
  kinds: readonly BatchPiece['kind'][];
  /** Names of the parts that begin at some of the tokens. */
  parts?: ReadonlyMap<number, string>;
}

/** What {@link logBatches} needs to know of batches. */
export interface BatchLogOptions<Batch> {
  /** The run directory. */
  directory: string;
  /** The first rows of a batch, {@link MOST_ROWS} at most. */
  rows: (batch: Batch, position: Position) => ShownRow[];
  /** The text of ids, special tokens spelled. */
  decode: (ids: ArrayLike<number>) => Promise<string>;
}

/** A source that writes down some of its batches. */
export interface LoggedBatches<Batch> {
  /** The same batches, to train on. */
  batches: BatchSource<Batch>;
  /** Waits for a batch that is being written. */
  settled: () => Promise<void>;
}

/** Rows that are shown of a batch. */
export const MOST_ROWS = 4;

/** Tokens that are shown of a row. */
const MOST_TOKENS = 192;

/** Seconds between two batches: what takes milliseconds then takes no measurable share of training. */
const EVERY_SECONDS = 10;

/**
 * The same batches; now and then one is also written to `batch.json`, beside training.
 *
 * A batch that cannot be written is left out: the logs of the run tell of a full disk.
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
  writeFileAtomic(join(directory, 'batch.json'), `${JSON.stringify(batch)}\n`);
}

/** A row in pieces of one kind. */
export async function describeRow(
  { ids, kinds, parts = new Map() }: ShownRow,
  decode: (ids: ArrayLike<number>) => Promise<string>,
): Promise<BatchRow> {
  const shown = Math.min(ids.length, MOST_TOKENS);
  const starts: number[] = [];
  for (let i = 0; i < shown; i++) {
    if (i === 0 || kinds[i] !== kinds[i - 1] || parts.has(i)) starts.push(i);
  }
  const isFresh = (start: number) => start === 0 || parts.has(start);
  const pieces = await Promise.all(
    starts.map(async (start, index): Promise<BatchPiece> => {
      // Decoded with what stands before it in its part: a tokenizer drops the space of a first word, and a character
      // that one piece only begins belongs to the next.
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

/** What `whole` has beyond `before`. */
function rest(before: string, whole: string): string {
  let same = 0;
  while (same < before.length && before[same] === whole[same]) same++;
  return whole.slice(same);
}
