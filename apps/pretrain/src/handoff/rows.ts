/**
 * Token rows of a hand-off: pairs of `.npy` files of at most so many bytes, which PyTorch maps into memory.
 *
 *     inputs-00000.npy    [rows, T]   what the model reads, masks in place
 *     targets-00000.npy   [rows, T]   what it is to predict: at every position the original token that follows
 */
import { join } from 'node:path';
import type { Masker } from '@meap/meap-masking';
import type { TokenBlocks } from '@meap/token-dataset';
import type { BatchSource } from '@meap/trainer';
import { maskRows, type Rows, rowsOf } from '../training/objective.ts';
import { type NpyDtype, NpyWriter, npyBytes, type WrittenFile } from './npy.ts';

/** A pair of files with some rows. */
export interface RowShard {
  rows: number;
  inputs: WrittenFile;
  targets: WrittenFile;
}

interface OpenShard {
  rows: number;
  /** Rows that are still to come. */
  left: number;
  inputs: NpyWriter;
  targets: NpyWriter;
}

/** Shape of the rows to write. */
export interface RowShape {
  rows: number;
  /** T. */
  length: number;
  dtype: NpyDtype;
  /** Most bytes of a file, its header apart; a row larger than that has a file of its own. */
  shardBytes: number;
}

/** Which rows of a run to write: those of whole steps. */
export interface TrainRows {
  batches: BatchSource<Rows>;
  masker: Masker;
  /** Micro-batches of a step. */
  microBatches: number;
  /** Steps completed before the first. */
  firstStep: number;
  steps: number;
}

/** The smallest element type that holds all ids of a vocabulary. */
export function tokenDtype(vocabSize: number): NpyDtype {
  return vocabSize <= 65_536 ? '<u2' : '<i4';
}

/** Writes rows one after another into shards. */
export class RowWriter {
  readonly #folder: string;
  readonly #shape: RowShape;
  readonly #rowsPerShard: number;
  readonly #shards: RowShard[] = [];
  #open: OpenShard | undefined;
  #done = 0;

  constructor(folder: string, shape: RowShape) {
    this.#folder = folder;
    this.#shape = shape;
    this.#rowsPerShard = Math.max(1, Math.floor(shape.shardBytes / (shape.length * npyBytes(shape.dtype))));
  }

  /** Appends whole rows, row-major. */
  async write(inputs: Int32Array, targets: Int32Array): Promise<void> {
    const { length } = this.#shape;
    for (let row = 0; row * length < inputs.length; ) {
      this.#open ??= await this.#openShard();
      const rows = Math.min(this.#open.left, inputs.length / length - row);
      const [from, to] = [row * length, (row + rows) * length];
      await this.#open.inputs.write(inputs.subarray(from, to));
      await this.#open.targets.write(targets.subarray(from, to));
      row += rows;
      this.#open.left -= rows;
      if (this.#open.left === 0) await this.#closeShard();
    }
  }

  /** The shards, once all rows of the shape have been written. */
  finish(): readonly RowShard[] {
    if (this.#open || this.#done !== this.#shape.rows) throw new RangeError('rows are missing');
    return this.#shards;
  }

  /** Closes what is open; never fails. */
  async abandon(): Promise<void> {
    await this.#open?.inputs.abandon();
    await this.#open?.targets.abandon();
  }

  async #openShard(): Promise<OpenShard> {
    const { rows: all, length, dtype } = this.#shape;
    const rows = Math.min(this.#rowsPerShard, all - this.#done);
    const number = String(this.#shards.length).padStart(5, '0');
    const create = (what: string) =>
      NpyWriter.create(join(this.#folder, `${what}-${number}.npy`), dtype, [rows, length]);
    const inputs = await create('inputs');
    return { rows, left: rows, inputs, targets: await create('targets') };
  }

  async #closeShard(): Promise<void> {
    const { rows, inputs, targets } = this.#open!;
    this.#open = undefined;
    this.#done += rows;
    this.#shards.push({ rows, inputs: await inputs.close(), targets: await targets.close() });
  }
}

/** The rows that a trainer feeds in some steps, micro-batch by micro-batch, with how many of their tokens are masked. */
export async function* trainRows({ batches, masker, microBatches, firstStep, steps }: TrainRows) {
  for (let step = firstStep; step < firstStep + steps; step++) {
    for (let microBatch = 0; microBatch < microBatches; microBatch++) {
      const position = { step, microBatch };
      const batch = await batches(position);
      const { inputs, numMasked } = maskRows(masker, batch, position);
      yield { position, inputs, targets: batch.targets, numMasked };
    }
  }
}

/** Writes the rows of a validation, without masks, and beside them the UTF-8 bytes behind each row's targets. */
export async function writeValidationRows(
  folder: string,
  blocks: TokenBlocks,
  shape: Pick<RowShape, 'dtype' | 'shardBytes'>,
): Promise<{ shards: readonly RowShard[]; bytes: WrittenFile }> {
  const rows = blocks.numBlocks;
  const writer = new RowWriter(folder, { ...shape, rows, length: blocks.blockLength - 1 });
  const bytes = await NpyWriter.create(join(folder, 'bytes.npy'), '<f8', [rows]);
  try {
    for (const { inputs, targets, numBytes } of rowsOf(blocks, 1)) {
      await writer.write(inputs, targets);
      await bytes.write([numBytes]);
    }
    return { shards: writer.finish(), bytes: await bytes.close() };
  } catch (error) {
    await writer.abandon();
    await bytes.abandon();
    throw error;
  }
}
