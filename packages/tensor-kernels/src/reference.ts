/**
 * Every kernel as a composition of plain TensorFlow.js ops, differentiable by the tape: the oracle for tests of the fast
 * kernels, and the fallback on backends without them.
 *
 * Shape suffixes: B batch, T query length, S key length, H query heads, G key-value heads, D head size,
 * N tokens, V vocabulary, C channels.
 */

import * as tf from '@tensorflow/tfjs-core';
import { customGradient, type Keep } from './custom-gradient.ts';

/** Options of {@link attention}. */
export interface AttentionOptions {
  /** int32 `[B, T]`; a query attends only to keys of its own segment. Needs as many keys as queries. */
  segmentIds?: tf.Tensor | undefined;
  /**
   * int32 `[B, T]`, with `segmentIds`: a query also attends to the keys of this segment, so that many continuations share
   * one prefix in the row. The id of its own segment where there is none.
   */
  prefixIds?: tf.Tensor | undefined;
  /** Number of latest keys that a query attends to, itself included. Unlimited by default. */
  window?: number;
  /** Factor on the scores; 1 / √D by default. */
  scale?: number;
  /** Within `recompute`: keeps the result, so that the backward pass does not recompute it. */
  keep?: Keep;
}

/** `[B or 1, T, S]` booleans: the keys that the last T of S tokens attend to; ids are of all S. */
export function visibleKeys_BTS(
  numQueries: number,
  numKeys: number,
  { segmentIds, prefixIds, window }: AttentionOptions,
): tf.Tensor3D {
  const query_T1 = tf.range(numKeys - numQueries, numKeys, 1, 'int32').expandDims(1);
  const key_1S = tf.range(0, numKeys, 1, 'int32').expandDims(0);
  let visible: tf.Tensor = tf.lessEqual(key_1S, query_T1);
  if (window !== undefined) {
    visible = tf.logicalAnd(visible, tf.greater(key_1S, tf.sub(query_T1, tf.scalar(window, 'int32'))));
  }
  visible = visible.expandDims(0);
  if (segmentIds) {
    const key_B1T = segmentIds.expandDims(1);
    const sees = (ids: tf.Tensor) => tf.equal(ids.slice([0, numKeys - numQueries]).expandDims(2), key_B1T);
    const both = prefixIds ? tf.logicalOr(sees(segmentIds), sees(prefixIds)) : sees(segmentIds);
    visible = tf.logicalAnd(visible, both);
  }
  return visible as tf.Tensor3D;
}

export function attentionReference(
  q_BTHD: tf.Tensor,
  k_BSGD: tf.Tensor,
  v_BSGD: tf.Tensor,
  options: AttentionOptions = {},
): tf.Tensor4D {
  return tf.tidy(() => {
    const [B, T, H, D] = (q_BTHD as tf.Tensor4D).shape;
    const [, S, G] = (k_BSGD as tf.Tensor4D).shape;
    const scale = options.scale ?? 1 / Math.sqrt(D);
    // Rank 4: TensorFlow.js has no gradient for a tile of rank 5.
    const heads = (x: tf.Tensor) =>
      tf
        .transpose(x, [0, 2, 1, 3])
        .reshape([B, G, 1, S * D])
        .tile([1, 1, H / G, 1])
        .reshape([B, H, S, D]);
    const q_BHTD = tf.transpose(q_BTHD, [0, 2, 1, 3]);
    const scores_BHTS = tf.matMul(q_BHTD, heads(k_BSGD), false, true).mul(scale);
    const visible_B1TS = visibleKeys_BTS(T, S, options).expandDims(1);
    const hidden = tf.sub(1, visible_B1TS.cast('float32')).mul(-1e30);
    const weights_BHTS = tf.softmax(tf.add(scores_BHTS, hidden));
    const out_BHTD = tf.matMul(weights_BHTS, heads(v_BSGD));
    return tf.transpose(out_BHTD, [0, 2, 1, 3]) as tf.Tensor4D;
  });
}

export function rmsNormReference<T extends tf.Tensor>(x: T, weight_C: tf.Tensor, epsilon: number): T {
  return tf.tidy(() =>
    tf.mul(tf.mul(x, tf.rsqrt(tf.mean(tf.square(x), -1, true).add(epsilon))), weight_C),
  ) as T;
}

export function rotaryEmbeddingReference(x_BTHD: tf.Tensor, cos: tf.Tensor, sin: tf.Tensor): tf.Tensor4D {
  return tf.tidy(() => {
    const D = x_BTHD.shape[3]!;
    const a = tf.slice(x_BTHD, [0, 0, 0, 0], [-1, -1, -1, D / 2]);
    const b = tf.slice(x_BTHD, [0, 0, 0, D / 2], [-1, -1, -1, D / 2]);
    const c = cos.expandDims(-2);
    const s = sin.expandDims(-2);
    return tf.concat([a.mul(c).sub(b.mul(s)), b.mul(c).add(a.mul(s))], 3) as tf.Tensor4D;
  });
}

export function swiGluReference<T extends tf.Tensor>(gate: T, up: T): T {
  return tf.tidy(() => tf.mul(tf.mul(gate, tf.sigmoid(gate)), up)) as T;
}

export function linearReference(x: tf.Tensor, weight_OI: tf.Tensor): tf.Tensor {
  const [O, I] = (weight_OI as tf.Tensor2D).shape;
  return tf.matMul(x.reshape([-1, I]), weight_OI, false, true).reshape([...x.shape.slice(0, -1), O]);
}

/** The gradient is a scatter: that of `gather` needs a kernel that tfjs-wasm lacks. */
export function embeddingReference(ids: tf.Tensor, table_VC: tf.Tensor): tf.Tensor {
  return customGradient([table_VC], ([table], save) => {
    save([ids]);
    return {
      value: tf.gather(table, ids.as1D()).reshape([...ids.shape, table_VC.shape[1]!]),
      gradient: (dy, [ids]) =>
        tf.scatterND(ids.reshape([-1, 1]), dy.reshape([ids.size, -1]), table_VC.shape as number[]),
    };
  });
}

/** Losses of tokens, and log Σ exp of their logits. */
function tokenLosses(
  x_NC: tf.Tensor,
  weight_VC: tf.Tensor,
  targets_N: tf.Tensor,
): { losses_N: tf.Tensor1D; logSum_N: tf.Tensor1D } {
  return tf.tidy(() => {
    const logits_NV = tf.matMul(x_NC, weight_VC, false, true);
    // A shift of all logits cancels, so it needs no gradient.
    const peak_N1 = customGradient([logits_NV], ([logits]) => ({
      value: tf.max(logits, -1, true),
      gradient: () => tf.zeros(logits.shape),
    }));
    const logSum_N = tf.log(tf.sum(tf.exp(tf.sub(logits_NV, peak_N1)), -1)).add(peak_N1.squeeze([-1]));
    const target_N = tf.sum(tf.mul(logits_NV, tf.oneHot(targets_N, weight_VC.shape[0]!)), -1);
    return { losses_N: tf.sub(logSum_N, target_N) as tf.Tensor1D, logSum_N: logSum_N as tf.Tensor1D };
  });
}

export function linearCrossEntropyReference(
  x_NC: tf.Tensor,
  weight_VC: tf.Tensor,
  targets_N: tf.Tensor,
  mask_N?: tf.Tensor,
): tf.Scalar {
  return tf.tidy(() => {
    const { losses_N } = tokenLosses(x_NC, weight_VC, targets_N);
    return tf.sum(mask_N ? tf.mul(losses_N, mask_N) : losses_N) as tf.Scalar;
  });
}

export function zLossReference(
  x_NC: tf.Tensor,
  weight_VC: tf.Tensor,
  targets_N: tf.Tensor,
  mask_N: tf.Tensor | undefined,
  zLoss: number,
): { sum: tf.Scalar; zLoss: tf.Scalar } {
  return tf.tidy(() => {
    const { losses_N, logSum_N } = tokenLosses(x_NC, weight_VC, targets_N);
    const masked = (values_N: tf.Tensor) => tf.sum(mask_N ? tf.mul(values_N, mask_N) : values_N);
    const own = tf.mul(masked(tf.square(logSum_N)), zLoss);
    return { sum: tf.add(masked(losses_N), own) as tf.Scalar, zLoss: own as tf.Scalar };
  });
}

export function scoreTokensReference(
  x_NC: tf.Tensor,
  weight_VC: tf.Tensor,
  targets_N: tf.Tensor,
): { logProbabilities: tf.Tensor1D; greedyIds: tf.Tensor1D } {
  return tf.tidy(() => ({
    logProbabilities: tf.neg(tokenLosses(x_NC, weight_VC, targets_N).losses_N) as tf.Tensor1D,
    greedyIds: tf.argMax(tf.matMul(x_NC, weight_VC, false, true), -1) as tf.Tensor1D,
  }));
}
