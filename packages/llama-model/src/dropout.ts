import { dropout as dropoutWithKeys, threefry } from '@meap/tensor-kernels';
import type * as tf from '@tensorflow/tfjs';
import { randomKey } from './random.ts';

/** Where in a run a forward pass stands: all that its dropout masks depend on. */
export interface DropoutKey {
  /** Of the run. */
  seed: number;
  /** Optimizer step. */
  step: number;
  /** Index of the pass's first row among the rows of its step, so that any split into micro-batches draws alike. */
  firstRow?: number;
}

/**
 * Zeroes a share of the elements, with a mask keyed by seed, purpose, step and row: the backward pass and a resumed
 * run draw it again.
 *
 * @param x_BTE float32 `[B, T, E]`
 * @param rate share of zeroes, in [0, 1)
 * @param purpose tells the places of a network apart
 */
export function dropout(x_BTE: tf.Tensor, rate: number, key: DropoutKey, purpose: string): tf.Tensor {
  const [key0, key1] = randomKey(key.seed, purpose);
  const rowKeys = new Int32Array(2 * x_BTE.shape[0]);
  for (let row = 0; row < x_BTE.shape[0]; row++) {
    threefry(key0, key1, key.step, (key.firstRow ?? 0) + row, rowKeys.subarray(2 * row));
  }
  return dropoutWithKeys(x_BTE, rate, rowKeys);
}
