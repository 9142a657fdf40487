/**
 * Token rows of a hand-off: pairs of `.npy` files of bounded size.
 *
 *     inputs-00000.npy    [rows, T]   inputs of the model, masked
 *     targets-00000.npy   [rows, T]   the original next token at every position
 */
import { join } from 'node:path';
import type { Masker } from '@meap/meap-masking';
import type { TokenBlocks } from '@meap/token-dataset';
import type { BatchSource } from '@meap/trainer';
import { maskRows, type Rows, rowsOf } from '../training/objective.ts';
import { type NpyDtype, NpyWriter, npyBytes, type WrittenFile } from './npy.ts';

/** A pair of files. */
export interface RowShard {
  rows: number;
  inputs: WrittenFile;
  targets: WrittenFile;
}

interface OpenShard {
  rows: number;
  /** Rows still to write. */
  left: number;
  inputs: NpyWriter;
  targets: NpyWriter;
}

/** Shape of the rows to write. */
export interface RowShape {
  rows: number;
  /** T, tokens of a row. */
  length: number;
  dtype: NpyDtype;
  /** Maximum bytes of a file without its header; a larger row gets its own file. */
  shardBytes: number;
}

/** The steps of a run whose rows to write. */
export interface TrainRows {
  batches: BatchSource<Rows>;
  masker: Masker;
  /** Micro-batches per step. */
  microBatches: number;
  /** Completed steps before the first. */
  firstStep: number;
  steps: number;
}

/** Returns the smallest dtype that holds all ids of a vocabulary. */
export function tokenDtype(vocabSize: number): NpyDtype {
  return vocabSize <= 65_536 ? '<u2' : '<i4';
}

/** Writes rows into shards. */
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

  /** Returns the shards. Throws RangeError if rows are missing. */
  finish(): readonly RowShard[] {
    if (this.#open || this.#done !== this.#shape.rows) throw new RangeError('rows are missing');
    return this.#shards;
  }

  /** Closes open files; never fails. */
  async abandon(): Promise<void> {
    await this.#open?.inputs.abandon();
    await this.#open?.targets.abandon();
  }

  async #openShard(): Promise<OpenShard> {
    const { rows: all, length, dtype } = this.#shape;
    const rows = Math.min(this.#rowsPerShard, all - this.#done);
    const number = String(this.#shards.length).padStart(5, '0');
    const create = (name: string) =>
      NpyWriter.create(join(this.#folder, `${name}-${number}.npy`), dtype, [rows, length]);
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

/** Yields the masked micro-batches of the given steps with their number of masked tokens. */
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

/** Writes the unmasked rows of a validation, and the UTF-8 bytes of each row's target text. */
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
