/** Attention of new tokens over a cache of earlier ones. */
import * as tf from '@tensorflow/tfjs-core';
import type { KernelSignatures } from './kernel-signatures.ts';
import { hasKernel, requireShape, runKernel } from './ops.ts';
import { type AttentionOptions, attentionReference } from './reference.ts';

/** Keys and values of a sequence in one layer, with spare capacity. */
export interface SequenceCache {
  /** float32 `[capacity, G, D]`, of which the first `length` are filled. */
  readonly keys: tf.Variable;
  readonly values: tf.Variable;
  readonly length: number;
}

/** Options of {@link cachedAttention}. */
export type CachedAttentionOptions = Pick<AttentionOptions, 'window' | 'scale'>;

/**
 * Attention of T new tokens of each of B sequences, whose lengths may differ.
 *
 * Writes the new keys and values behind the first `length` rows of each cache, in place; each query attends to all of
 * them up to its own position, as in {@link attention}. The caller advances `length`. Not differentiable.
 *
 * @param q_BTHD float32 `[B, T, H, D]`.
 * @param k_BTGD float32 `[B, T, G, D]`, H a multiple of G.
 * @param v_BTGD float32 `[B, T, G, D]`.
 * @param caches one for each of the B sequences, with capacity for T more rows.
 * @returns float32 `[B, T, H, D]`.
 * @throws Error if shapes do not match or a cache is full.
 */
export function cachedAttention(
  q_BTHD: tf.Tensor,
  k_BTGD: tf.Tensor,
  v_BTGD: tf.Tensor,
  caches: readonly SequenceCache[],
  options: CachedAttentionOptions = {},
): tf.Tensor4D {
  requireShape('cachedAttention', 'q', q_BTHD, [null, null, null, null]);
  const [B, T, H, D] = q_BTHD.shape;
  requireShape('cachedAttention', 'k', k_BTGD, [B, T, null, D]);
  requireShape('cachedAttention', 'v', v_BTGD, k_BTGD.shape);
  const G = k_BTGD.shape[2];
  if (H % G !== 0)
    throw new Error(`cachedAttention: ${H} query heads cannot share ${G} key-value heads evenly`);
  if (caches.length !== B) {
    throw new Error(`cachedAttention: one cache a sequence, got ${caches.length} for ${B} sequences`);
  }
  for (const [b, { keys, values, length }] of caches.entries()) {
    requireShape('cachedAttention', `keys of cache ${b}`, keys, [null, G, D]);
    requireShape('cachedAttention', `values of cache ${b}`, values, keys.shape);
    if (length + T > keys.shape[0]) {
      throw new Error(
        `cachedAttention: cache ${b} is full, got ${length} + ${T} tokens for ${keys.shape[0]} rows`,
      );
    }
  }
  if (!hasKernel('CachedAttention')) return composed(q_BTHD, k_BTGD, v_BTGD, caches, options);
  const inputs: KernelSignatures['CachedAttention']['inputs'] = { q: q_BTHD, k: k_BTGD, v: v_BTGD };
  for (const [b, { keys, values }] of caches.entries()) {
    inputs[`keys${b}`] = keys;
    inputs[`values${b}`] = values;
  }
  const { scale = 1 / Math.sqrt(D), window = 0 } = options;
  const lengths = caches.map(({ length }) => length);
  return runKernel('CachedAttention', inputs, { scale, window, lengths })[0] as tf.Tensor4D;
}

/** The reference, of plain ops for each sequence. */
function composed(
  q_BTHD: tf.Tensor4D,
  k_BTGD: tf.Tensor4D,
  v_BTGD: tf.Tensor4D,
  caches: readonly SequenceCache[],
  options: CachedAttentionOptions,
): tf.Tensor4D {
  return tf.tidy(() => {
    const rows = caches.map(({ keys, values, length }, b) => {
      const [k_1SGD, v_1SGD] = [
        [keys, k_BTGD],
        [values, v_BTGD],
      ].map(([held, all]) => {
        const fresh = all.slice([b], [1]).squeeze<tf.Tensor3D>([0]);
        const end = length + fresh.shape[0];
        const seen = tf.concat([held.slice([0], [length]), fresh]) as tf.Tensor3D;
        (held as tf.Variable).assign(tf.concat([seen, held.slice([end])]) as tf.Variable);
        return seen.expandDims<tf.Tensor4D>(0);
      });
      return attentionReference(q_BTHD.slice([b], [1]), k_1SGD, v_1SGD, options);
    });
    return tf.concat(rows) as tf.Tensor4D;
  });
}
