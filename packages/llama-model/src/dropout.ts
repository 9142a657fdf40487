import { dropout as dropoutWithKeys, threefry } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
import { randomKey } from './random.ts';

/** Tokens of a long row that are processed at once with `recompute`; longer rows are long. */
export const PIECE_TOKENS = 4096;

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
 * Every {@link PIECE_TOKENS} tokens of a row have a key of their own, so that a long row has one mask, whole or piece by
 * piece.
 *
 * @param x_BTE float32 `[B, T, E]`
 * @param rate share of zeroes, in [0, 1)
 * @param purpose tells the places of a network apart
 * @param firstToken where x begins in its rows, if it is a piece of them
 */
export function dropout(
  x_BTE: tf.Tensor,
  rate: number,
  key: DropoutKey,
  purpose: string,
  firstToken = 0,
): tf.Tensor {
  const T = x_BTE.shape[1]!;
  if (T > PIECE_TOKENS) {
    const starts = Array.from({ length: Math.ceil(T / PIECE_TOKENS) }, (_, i) => i * PIECE_TOKENS);
    const lengths = starts.map((start) => Math.min(PIECE_TOKENS, T - start));
    const pieces = tf.split(x_BTE, lengths, 1);
    return tf.concat(
      pieces.map((piece, i) => dropout(piece, rate, key, purpose, starts[i])),
      1,
    );
  }
  const [key0, key1] = randomKey(key.seed, purpose);
  const rowKeys = new Int32Array(2 * x_BTE.shape[0]);
  for (let row = 0; row < x_BTE.shape[0]; row++) {
    const words = rowKeys.subarray(2 * row, 2 * row + 2);
    threefry(key0, key1, key.step, (key.firstRow ?? 0) + row, words);
    // Another second word than the counters of elements have.
    if (firstToken > 0) threefry(words[0], words[1], firstToken, 1, words);
  }
  return dropoutWithKeys(x_BTE, rate, rowKeys);
}
