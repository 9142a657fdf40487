import type * as tf from '@tensorflow/tfjs-core';
import type { DropoutKey } from './dropout.ts';
import type { KeyValueCache } from './key-value-cache.ts';

/** Options of a forward pass. */
export interface ForwardOptions {
  /** int32 `[B, T]`, each token's position; by default 0, 1, 2, … after the tokens of the cache. */
  positions?: tf.Tensor;
  /** int32 `[B, T]`; a token attends only to tokens of its own segment. Pass `positions` too if they restart. */
  segmentIds?: tf.Tensor;
  /**
   * int32 `[B, T]`, with `segmentIds`: a token also attends to the tokens of this earlier segment of the row, so that many
   * continuations share one prefix. The id of its own segment where there is none.
   */
  prefixIds?: tf.Tensor;
  /**
   * Caches to read and extend, one for each row (or one alone for a single row). Not together with `segmentIds`; not
   * differentiable.
   */
  cache?: KeyValueCache | readonly KeyValueCache[];
  /**
   * Keeps only block inputs for the backward pass: less memory for one more forward pass, the same gradients. Processes
   * rows longer than 4096 tokens in pieces.
   */
  recompute?: boolean;
  /**
   * Key of the adapter's dropout masks, required in training; false disables dropout, the default without a gradient. No
   * effect without an adapter or with a dropout of 0.
   */
  dropout?: DropoutKey | false;
  /** Called with each layer's queries and keys after rotation; they are freed unless kept. Not with a cache. */
  onAttention?: (layer: number, q_BTHD: tf.Tensor4D, k_BTGD: tf.Tensor4D) => void;
}
