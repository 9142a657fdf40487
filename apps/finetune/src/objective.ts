/**
 * MEAP's fine-tuning objective (arXiv 2502.07490, §3): the loss of the original answer and of the masked tokens of its
 * copy. `@meap/sft-duplication` makes rows and loss masks; this module makes batches and losses.
 *
 * A step takes the next `global_batch_size` conversations of a stream of shuffled epochs. Rows are packed within a
 * micro-batch and losses are summed over tokens and divided once, so packing does not affect the batch size.
 */
import type { Llama } from '@meap/llama-model';
import {
  type Duplicator,
  epochOrder,
  joinRows,
  packRows,
  planPacking,
  type SftBatch,
  type SftRow,
  type SftSample,
  stackRows,
  TokenKind,
} from '@meap/sft-duplication';
import { compilesShapes } from '@meap/tensor-kernels';
import type { BatchSource, Loss, LossSum } from '@meap/trainer';
import * as tf from '@tensorflow/tfjs-core';

/** Parameters of the batches of a run. */
export interface BatchPlan {
  samples: readonly SftSample[];
  duplicator: Duplicator;
  seed: number;
  /** Conversations per step and per micro-batch. */
  globalBatchSize: number;
  microBatchSize: number;
  /** Maximum length of a packed row; undefined pads rows without packing. */
  packTo: number | undefined;
}

/** Returns the micro-batches of a run as a pure function of step and micro-batch. */
export function batchSource(plan: BatchPlan): BatchSource<SftBatch> {
  const { samples, duplicator, seed, globalBatchSize, microBatchSize, packTo } = plan;
  const count = samples.length;
  let cached = { epoch: 0, order: epochOrder({ count, seed, epoch: 0 }) };
  const orderOf = (epoch: number) => {
    if (cached.epoch !== epoch) cached = { epoch, order: epochOrder({ count, seed, epoch }) };
    return cached.order;
  };
  return ({ step, microBatch }) => {
    const rows: SftRow[] = [];
    const first = step * globalBatchSize + microBatch * microBatchSize;
    for (let at = first; at < first + microBatchSize; at++) {
      const epoch = Math.floor(at / count);
      const index = orderOf(epoch)[at % count];
      rows.push(...duplicator.duplicate(samples[index], { epoch, index }).rows);
    }
    return batchOf(rows, packTo);
  };
}

/**
 * Stacks rows into a batch, packed if a length is given.
 *
 * The length of packed rows is the multiple of an eighth of `packTo` with the least padding: few shapes, for which
 * backends reuse buffers.
 *
 * @param hasFewShapes pads to fewer shapes; by default on a backend that compiles a program for each
 */
export function batchOf(
  rows: readonly SftRow[],
  packTo: number | undefined,
  hasFewShapes = compilesShapes(),
): SftBatch {
  if (hasFewShapes) return stackRows(rowsOfFewShapes(rows, packTo));
  if (packTo === undefined) return stackRows(rows);
  const lengths = rows.map(({ inputs }) => inputs.length);
  const longest = lengths.reduce((max, length) => Math.max(max, length), 0);
  let best = { length: packTo, numPositions: Number.POSITIVE_INFINITY };
  for (let eighths = 8; eighths > 0; eighths--) {
    const length = Math.ceil((packTo * eighths) / 8);
    if (length < longest) break;
    const numPositions = length * planPacking(lengths, { length }).length;
    if (numPositions < best.numPositions) best = { length, numPositions };
  }
  return stackRows(packRows(rows, { length: best.length }).rows);
}

/** The length of rows is a multiple of this on a backend that compiles a program for each shape. */
const COMPILED_POSITIONS = 128;

/** Rows of full or rounded length, as many as a power of two; what is not filled is padding, without loss. */
function rowsOfFewShapes(rows: readonly SftRow[], packTo: number | undefined): SftRow[] {
  const longest = rows.reduce((max, { inputs }) => Math.max(max, inputs.length), 0);
  const length = packTo ?? Math.ceil(longest / COMPILED_POSITIONS) * COMPILED_POSITIONS;
  const padded =
    packTo === undefined ? rows.map((row) => joinRows([row], { length })) : packRows(rows, { length }).rows;
  const count = 2 ** Math.ceil(Math.log2(padded.length));
  while (padded.length < count) padded.push(joinRows([], { length }));
  return padded;
}

/** Returns the training loss. */
export function sftLoss(
  model: Llama,
  { seed, recompute }: { seed: number; recompute: boolean },
): Loss<SftBatch> {
  return (batch, { step, microBatch }) => ({
    ...lossOf(model, batch, batch.lossMask, {
      recompute,
      // Numbers rows across micro-batches, each with fewer than 2^16 rows.
      dropout: { seed, step, firstRow: microBatch * 2 ** 16 },
    }),
    tokens: numTokens(batch),
  });
}

/** Computes the loss over the positions in `lossMask`. */
export function lossOf(
  model: Llama,
  batch: SftBatch,
  lossMask: Uint8Array,
  options: { recompute?: boolean; dropout?: { seed: number; step: number; firstRow: number } } = {},
): LossSum {
  const shape: [number, number] = [batch.numRows, batch.length];
  const int = (values: Int32Array) => tf.tensor2d(values, shape, 'int32');
  const mask = tf.tensor2d(Float32Array.from(lossMask), shape, 'float32');
  return model.loss(int(batch.inputs), int(batch.targets), mask, {
    segmentIds: int(batch.segmentIds),
    positions: int(batch.positions),
    ...options,
  });
}

function numTokens({ kinds }: SftBatch): number {
  return kinds.reduce((count, kind) => count + (kind === TokenKind.padding ? 0 : 1), 0);
}
