import * as tf from '@tensorflow/tfjs-core';
import { customGradient } from './custom-gradient.ts';
import { hasKernel, runKernel } from './ops.ts';
import { threefry } from './threefry.ts';

/** Resolution of rates: 16 random bits decide on an element. */
const STEPS = 2 ** 16;

/**
 * Zeroes a share of the elements and scales the rest, so that the expectation is unchanged (Srivastava et al. 2014).
 *
 * The mask is a function of each row's key, so that the backward pass recomputes it.
 *
 * @param x float32 `[numRows, ...]`
 * @param rate share of zeroes, in [0, 1), rounded to 1/65,536
 * @param rowKeys two words for each row, from {@link threefry}; rows with equal keys have equal masks
 * @returns float32 of x's shape
 * @throws Error for a rate outside [0, 1) or a wrong number of keys
 */
export function dropout<T extends tf.Tensor>(x: T, rate: number, rowKeys: Int32Array): T {
  if (!(rate >= 0 && rate < 1)) {
    throw new Error(`dropout: rate must be a number from 0 and below 1, got ${rate}`);
  }
  const numRows = x.shape[0] ?? 0;
  if (rowKeys.length !== 2 * numRows) {
    throw new Error(`dropout: got ${rowKeys.length} words of keys, expected two for each of ${numRows} rows`);
  }
  // A rate just below 1 must not become 1.
  const dropBelow = Math.min(Math.round(rate * STEPS), STEPS - 1);
  const apply = (x: tf.Tensor) =>
    hasKernel('Dropout')
      ? runKernel('Dropout', { x }, { rowKeys, dropBelow })[0]
      : tf.mul(x, dropoutMask(x.shape, dropBelow, rowKeys));
  return customGradient([x], ([x]) => ({ value: apply(x), gradient: (dy) => apply(dy) })) as T;
}

/** The reference: 0 for dropped elements, the scale for others. */
function dropoutMask(shape: number[], dropBelow: number, rowKeys: Int32Array): tf.Tensor {
  const mask = new Float32Array(tf.util.sizeFromShape(shape));
  const kept = STEPS / (STEPS - dropBelow);
  const numRows = rowKeys.length / 2;
  const rowSize = mask.length / numRows;
  const words = new Int32Array(2);
  for (let row = 0; row < numRows; row++) {
    const end = (row + 1) * rowSize;
    // Four elements from the 64 bits of a draw.
    for (let i = row * rowSize, counter = 0; i < end; i += 4, counter++) {
      threefry(rowKeys[2 * row], rowKeys[2 * row + 1], counter, 0, words);
      if ((words[0] & 0xffff) >= dropBelow) mask[i] = kept;
      if (i + 1 < end && words[0] >>> 16 >= dropBelow) mask[i + 1] = kept;
      if (i + 2 < end && (words[1] & 0xffff) >= dropBelow) mask[i + 2] = kept;
      if (i + 3 < end && words[1] >>> 16 >= dropBelow) mask[i + 3] = kept;
    }
  }
  return tf.tensor(mask, shape);
}
