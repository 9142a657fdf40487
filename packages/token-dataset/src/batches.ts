import { createHash } from 'node:crypto';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plusFromState } from 'pure-rand/generator/xoroshiro128plus';
import { type SplitOptions, selectBlocks, type TokenBlocks } from './blocks.ts';
import type { TokenDataset } from './dataset.ts';
import { DatasetError } from './errors.ts';

export interface BatchOptions extends SplitOptions {
  /** B: rows of a batch. */
  batchSize: number;
  /** Key of the order of the blocks. Default 0. */
  seed?: number;
  /** Whether every epoch has its own random order instead of that of the stream. Default true. */
  shuffle?: boolean;
  /** Whether another epoch follows the last row, as for training. Default true. */
  repeat?: boolean;
}

/** Rows of token ids, row-major. */
export interface Batch {
  /** [B·T] Input tokens of the model. */
  readonly inputs: Int32Array;
  /** [B·T] The next token at every position. */
  readonly targets: Int32Array;
  /** B, or fewer in the last batch of a single pass. */
  readonly rows: number;
  /** T. */
  readonly length: number;
  /** Epoch of its first row, from 0. */
  readonly epoch: number;
  /** Number of its first row since the start of training, over all epochs; a random key for rows. */
  readonly firstRow: number;
  /** UTF-8 bytes of the text of its targets: nats / ln 2 / numBytes are bits per byte. */
  readonly numBytes: number;
}

/** Position in a sequence of batches, with the settings of the sequence; plain JSON. */
export interface BatchesState {
  readonly version: 1;
  readonly fingerprint: string;
  readonly sequenceLength: number;
  readonly batchSize: number;
  readonly seed: number;
  readonly shuffle: boolean;
  readonly repeat: boolean;
  readonly split: string;
  readonly validationFraction: number;
  /** First row of the next batch. */
  readonly nextRow: number;
}

/** A sequence of batches with random access. */
export interface Batches extends IterableIterator<Batch> {
  /** Rows of an epoch: the blocks of the split. */
  readonly rowsPerEpoch: number;
  /** Number of batches; infinite with `repeat`. */
  readonly numBatches: number;
  /** Returns any batch without moving the position. Ranks of a data-parallel run draw `step · ranks + rank`. */
  batchAt(index: number): Batch;
  /** The position of the next batch, for `restore`. */
  state(): BatchesState;
  /**
   * Moves to a saved position.
   *
   * @throws DatasetError for a position of other data, seed, split or length, or inside a batch of this size
   */
  restore(state: BatchesState): void;
}

/**
 * Draws batches of T-token rows from a dataset.
 *
 * The order is a function of seed and epoch only, so access is random and a restored position continues exactly. With
 * `repeat` every batch is full: the rows of one epoch are followed by those of the next, and none is dropped. Without
 * it there is one epoch, whose last batch may have fewer rows.
 *
 * @throws DatasetError for a corpus shorter than a block, an empty split, an invalid option
 */
export function createBatches(dataset: TokenDataset, options: BatchOptions): Batches {
  const { batchSize, seed = 0, shuffle = true, repeat = true } = options;
  if (!Number.isInteger(batchSize) || batchSize < 1) {
    throw new DatasetError(`batchSize: got ${batchSize}, expected a whole number from 1`);
  }
  if (!Number.isSafeInteger(seed)) throw new DatasetError(`seed: got ${seed}, expected a whole number`);
  return new BlockBatches(selectBlocks(dataset, options), {
    version: 1,
    fingerprint: dataset.fingerprint,
    sequenceLength: options.sequenceLength,
    batchSize,
    seed,
    shuffle,
    repeat,
    split: options.split ?? 'all',
    validationFraction: options.validationFraction ?? 0,
  });
}

class BlockBatches implements Batches {
  readonly rowsPerEpoch: number;
  readonly numBatches: number;
  readonly #blocks: TokenBlocks;
  readonly #identity: Omit<BatchesState, 'nextRow'>;
  /** Orders of the last two epochs used: a batch may span two. */
  #orders: { epoch: number; order: Uint32Array }[] = [];
  #nextBatch = 0;

  constructor(blocks: TokenBlocks, identity: Omit<BatchesState, 'nextRow'>) {
    this.#blocks = blocks;
    this.#identity = identity;
    this.rowsPerEpoch = blocks.numBlocks;
    const { repeat, batchSize } = identity;
    this.numBatches = repeat ? Number.POSITIVE_INFINITY : Math.ceil(this.rowsPerEpoch / batchSize);
  }

  [Symbol.iterator](): this {
    return this;
  }

  next(): IteratorResult<Batch, undefined> {
    if (this.#nextBatch >= this.numBatches) return { done: true, value: undefined };
    const value = this.batchAt(this.#nextBatch);
    this.#nextBatch++;
    return { done: false, value };
  }

  batchAt(index: number): Batch {
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.numBatches) {
      throw new RangeError(`batch ${index} of ${this.numBatches}`);
    }
    const { batchSize, sequenceLength: length, repeat } = this.#identity;
    const firstRow = index * batchSize;
    const rows = repeat ? batchSize : Math.min(batchSize, this.rowsPerEpoch - firstRow);
    const inputs = new Int32Array(rows * length);
    const targets = new Int32Array(rows * length);
    let numBytes = 0;
    for (let row = 0; row < rows; row++) {
      const block = this.#blockOfRow(firstRow + row);
      const tokens = this.#blocks.read(block);
      inputs.set(tokens.subarray(0, length), row * length);
      targets.set(tokens.subarray(1), row * length);
      numBytes += this.#blocks.targetBytes(block);
    }
    const epoch = Math.floor(firstRow / this.rowsPerEpoch);
    return { inputs, targets, rows, length, epoch, firstRow, numBytes };
  }

  state(): BatchesState {
    return { ...this.#identity, nextRow: this.#nextBatch * this.#identity.batchSize };
  }

  restore(state: BatchesState): void {
    const { batchSize, ...sequence } = this.#identity;
    for (const [key, expected] of Object.entries(sequence)) {
      const got = state?.[key as keyof BatchesState];
      if (got !== expected) {
        throw new DatasetError(
          `cannot resume the data: the saved position has ${key} ${JSON.stringify(got)}, this run has ${expected}; restore the old setting or start a new run`,
        );
      }
    }
    const nextBatch = state.nextRow / batchSize;
    if (!Number.isSafeInteger(nextBatch) || nextBatch < 0 || nextBatch > this.numBatches) {
      throw new DatasetError(
        `cannot resume the data: the saved position has nextRow ${JSON.stringify(state.nextRow)}`,
      );
    }
    this.#nextBatch = nextBatch;
  }

  #blockOfRow(row: number): number {
    const epoch = Math.floor(row / this.rowsPerEpoch);
    const index = row - epoch * this.rowsPerEpoch;
    return this.#identity.shuffle ? this.#order(epoch)[index] : index;
  }

  #order(epoch: number): Uint32Array {
    let found = this.#orders.find((kept) => kept.epoch === epoch);
    if (!found) {
      found = { epoch, order: permutation(this.rowsPerEpoch, this.#identity.seed, epoch) };
      this.#orders = [found, ...this.#orders.slice(0, 1)];
    }
    return found.order;
  }
}

/** A uniformly random order of `length` blocks, a function of seed and epoch only. */
export function permutation(length: number, seed: number, epoch: number): Uint32Array {
  // The hash makes consecutive seeds and epochs independent and fills the 128-bit state of the generator.
  const key = createHash('sha256').update(`token-dataset shuffle ${seed} ${epoch}`).digest();
  const state = [0, 4, 8, 12].map((offset) => key.readInt32LE(offset));
  const generator = xoroshiro128plusFromState(state);
  const order = new Uint32Array(length);
  for (let i = 0; i < length; i++) order[i] = i;
  for (let i = length - 1; i > 0; i--) {
    const j = uniformInt(generator, 0, i);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
