/**
 * MEAP's fine-tuning objective (arXiv 2502.07490, §3): the original answer and, of a copy with masks in it, the masked
 * tokens. Which places learn what is decided by `@meap/sft-duplication`; here rows become batches and losses.
 *
 * A step takes the next `global_batch_size` conversations of an endless stream of shuffled epochs, so learning rate
 * and batch size mean what they mean in the paper, however rows are packed: packing happens inside a micro-batch, and
 * losses are summed over tokens and divided once.
 */
import type { Llama } from '@meap/llama-model';
import {
  type Duplicator,
  epochOrder,
  packRows,
  planPacking,
  type SftBatch,
  type SftRow,
  type SftSample,
  stackRows,
  TokenKind,
} from '@meap/sft-duplication';
import type { BatchSource, Loss, LossSum } from '@meap/trainer';
import * as tf from '@tensorflow/tfjs-core';

/** What decides the batches of a run. */
export interface BatchPlan {
  samples: readonly SftSample[];
  duplicator: Duplicator;
  seed: number;
  /** Conversations of a step, and of a micro-batch. */
  globalBatchSize: number;
  microBatchSize: number;
  /** Most places of a packed row; undefined pads each row by itself. */
  packTo: number | undefined;
}

/** The micro-batches of a run, a pure function of step and micro-batch. */
export function batchSource(plan: BatchPlan): BatchSource<SftBatch> {
  const { samples, duplicator, seed, globalBatchSize, microBatchSize, packTo } = plan;
  const count = samples.length;
  let known = { epoch: -1, order: epochOrder({ count, seed, epoch: 0 }) };
  const orderOf = (epoch: number) => {
    if (known.epoch !== epoch) known = { epoch, order: epochOrder({ count, seed, epoch }) };
    return known.order;
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
 * Rows as one batch, packed where a length is given.
 *
 * Lengths of packed rows are eighths of the given one: few shapes, which backends keep buffers for. Of these the
 * length is taken that leaves the least padding.
 */
export function batchOf(rows: readonly SftRow[], packTo: number | undefined): SftBatch {
  if (packTo === undefined) return stackRows(rows);
  const lengths = rows.map(({ inputs }) => inputs.length);
  const longest = lengths.reduce((most, length) => Math.max(most, length), 0);
  let best = { length: packTo, places: Number.POSITIVE_INFINITY };
  for (let eighths = 8; eighths > 0; eighths--) {
    const length = Math.ceil((packTo * eighths) / 8);
    if (length < longest) break;
    const places = length * planPacking(lengths, { length }).length;
    if (places < best.places) best = { length, places };
  }
  return stackRows(packRows(rows, { length: best.length }).rows);
}

/** The loss of training. */
export function sftLoss(
  model: Llama,
  { seed, recompute }: { seed: number; recompute: boolean },
): Loss<SftBatch> {
  return (batch, { step, microBatch }) => ({
    ...lossOf(model, batch, batch.lossMask, {
      recompute,
      // Rows of a step are numbered across its micro-batches, of which none has so many.
      dropout: { seed, step, firstRow: microBatch * 2 ** 16 },
    }),
    tokens: numTokens(batch),
  });
}

/** The loss of the places of a batch that `lossMask` picks. */
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
