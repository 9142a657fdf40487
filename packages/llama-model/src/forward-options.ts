import type * as tf from '@tensorflow/tfjs-core';
import type { DropoutKey } from './dropout.ts';
import type { KeyValueCache } from './key-value-cache.ts';

/** What a forward pass may be told besides the ids. */
export interface ForwardOptions {
  /** int32 `[B, T]`, each token's position; by default 0, 1, 2, … after what the cache holds. */
  positions?: tf.Tensor;
  /** int32 `[B, T]`; a token sees only tokens of its own segment. Give `positions` too where they restart. */
  segmentIds?: tf.Tensor;
  /**
   * int32 `[B, T]`, with `segmentIds`: a token also sees the tokens of this segment, which stand before it in the
   * row, so that many continuations share one prefix. Its own segment's id where it has none.
   */
  prefixIds?: tf.Tensor;
  /**
   * Read from and added to, one for each row (one alone for a single row); not together with `segmentIds`, and not
   * differentiable.
   */
  cache?: KeyValueCache | readonly KeyValueCache[];
  /**
   * Keep only block inputs for the backward pass: less memory for one more forward. Same gradients. Rows longer than
   * 4096 tokens are worked through in pieces.
   */
  recompute?: boolean;
  /**
   * Draws the masks of an adapter's dropout, which training must give; false drops nothing. Without a gradient
   * nothing is dropped unless given. Changes nothing without an adapter or where its dropout is 0.
   */
  dropout?: DropoutKey | false;
  /** Is shown each layer's queries and keys after their rotary positions; they are freed unless kept. Not with a cache. */
  onAttention?: (layer: number, q_BTHD: tf.Tensor4D, k_BTGD: tf.Tensor4D) => void;
}
