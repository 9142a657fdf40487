import * as tf from '@tensorflow/tfjs';
import { randomKey, threefry } from './random.ts';

/** Where in a run a forward pass stands: all that its dropout masks depend on. */
export interface DropoutKey {
  /** Of the run. */
  seed: number;
  /** Optimizer step. */
  step: number;
  /** Index of the pass's first row among the rows of its step, so that any split into micro-batches draws alike. */
  firstRow?: number;
}

const STEPS = 2 ** 16;

/**
 * Zeroes a share of the elements and scales the rest so that the expectation stays (Srivastava et al. 2014).
 *
 * The mask comes from a counter-based generator keyed by seed, purpose, step and row, so the backward pass and a
 * resumed run draw it again instead of keeping it. The share is rounded to 1/65,536.
 *
 * @param x_BTE float32 `[B, T, E]`
 * @param rate share of zeroes, in [0, 1)
 * @param purpose tells the places of a network apart
 */
export function dropout(x_BTE: tf.Tensor, rate: number, key: DropoutKey, purpose: string): tf.Tensor {
  const [numRows, T, E] = x_BTE.shape;
  const dropBelow = Math.round(rate * STEPS);
  const kept = STEPS / (STEPS - dropBelow);
  const mask = new Float32Array(numRows * T * E);
  const [key0, key1] = randomKey(key.seed, purpose);
  const words = new Int32Array(2);
  for (let row = 0; row < numRows; row++) {
    threefry(key0, key1, key.step, (key.firstRow ?? 0) + row, words);
    const [row0, row1] = words;
    const end = (row + 1) * T * E;
    // Four elements from the 64 bits of a draw.
    for (let i = row * T * E, counter = 0; i < end; i += 4, counter++) {
      threefry(row0, row1, counter, 0, words);
      if ((words[0] & 0xffff) >= dropBelow) mask[i] = kept;
      if (i + 1 < end && words[0] >>> 16 >= dropBelow) mask[i + 1] = kept;
      if (i + 2 < end && (words[1] & 0xffff) >= dropBelow) mask[i + 2] = kept;
      if (i + 3 < end && words[1] >>> 16 >= dropBelow) mask[i + 3] = kept;
    }
  }
  return tf.mul(x_BTE, tf.tensor(mask, x_BTE.shape));
}
