import { dropout as dropoutWithKeys, threefry } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
import { randomKey } from './random.ts';

/** Tokens of a piece of a long row; with `recompute` longer rows are processed in pieces. */
export const PIECE_TOKENS = 4096;

/** The position of a forward pass in a run, which determines its dropout masks. */
export interface DropoutKey {
  /** Seed of the run. */
  seed: number;
  /** Optimizer step. */
  step: number;
  /** Index of the first row among the rows of the step, so that masks do not depend on the split into micro-batches. */
  firstRow?: number;
}

/** Dropout in training. */
export interface DropoutOptions extends DropoutKey {
  /**
   * Share of zeroes in the embeddings and in the outputs of attention and feed-forward layers before they are added to
   * their inputs: GPT-2's `embd_pdrop` and `resid_pdrop`. Not of attention weights. Default 0; an adapter has a rate of
   * its own.
   */
  rate?: number;
}

/** Returns the dropout of one place in the model, a linear map that is the same in the backward pass; none at rate 0. */
export function dropoutAt(
  options: DropoutOptions | undefined,
  purpose: string,
  firstToken?: number,
): ((x_BTE: tf.Tensor) => tf.Tensor) | undefined {
  const rate = options?.rate ?? 0;
  return rate === 0 ? undefined : (x_BTE) => dropout(x_BTE, rate, options!, purpose, firstToken);
}

/**
 * Zeroes a share of the elements, with a mask keyed by seed, purpose, step and row, so that the backward pass and a
 * resumed run recompute it. Each {@link PIECE_TOKENS} tokens of a row have their own key, so that the mask of a long row is
 * the same whole or in pieces.
 *
 * @param x_BTE float32 `[B, T, E]`
 * @param rate share of zeroes, in [0, 1)
 * @param purpose identifies the layer
 * @param firstToken the first token of x in its rows, if it is a piece
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
    // The second word is 0 for the counters of elements.
    if (firstToken > 0) threefry(words[0], words[1], firstToken, 1, words);
  }
  return dropoutWithKeys(x_BTE, rate, rowKeys);
}
