/**
 * Trained rows of a frozen embedding table (PEFT's `trainable_token_indices`), such as that of a new `[MASK]`. They replace
 * the rows of the table rather than add to them, so that the initial values of new rows do not matter.
 *
 * Shape suffixes: B batch, T tokens, N tokens of a batch, V vocabulary, E hidden size, K learned rows.
 */
import { embedding, linear, linearCrossEntropy, scoreTokens } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';

/** Trained rows and their ids. */
export interface TokenRows {
  /** K ids, each once. */
  readonly ids: readonly number[];
  readonly rows_KE: tf.Tensor2D;
}

/** Embeddings `[B, T, E]` with the trained rows for their tokens; gradients flow to these rows alone. */
export function withTokenRows(
  x_BTE: tf.Tensor3D,
  ids_BT: tf.Tensor2D,
  { ids, rows_KE }: TokenRows,
): tf.Tensor3D {
  const row = new Map(ids.map((id, k) => [id, k]));
  const rows_BT = tf.tensor2d(
    Int32Array.from(ids_BT.dataSync(), (id) => row.get(id) ?? 0),
    ids_BT.shape,
    'int32',
  );
  const isLearned_BT1 = tf.tensor3d(
    Uint8Array.from(ids_BT.dataSync(), (id) => Number(row.has(id))),
    [...ids_BT.shape, 1],
    'bool',
  );
  return tf.where(isLearned_BT1, embedding(rows_BT, rows_KE), x_BTE) as tf.Tensor3D;
}

/** A copy of the table with the trained rows, `[V, E]` in float32; no gradient flows to the rows. */
export function replaceRows(table_VE: tf.Tensor2D, { ids, rows_KE }: TokenRows): tf.Tensor2D {
  // A custom gradient of the table alone cuts the tape to the rows.
  const op = tf.customGrad(() => ({
    value: tf.tensorScatterUpdate(table_VE, tf.tensor2d([...ids], [ids.length, 1], 'int32'), rows_KE),
    gradFunc: (dy: tf.Tensor) => dy.clone(),
  }));
  return op(table_VE) as tf.Tensor2D;
}

/**
 * Logits `[..., V]` of a tied head with trained rows, from the `logits` of the frozen table.
 *
 * Adds x·(trained − frozen row) to the logits of the rows, without a copy of the table; unchanged rows change no bit.
 */
export function correctLogits(
  logits: tf.Tensor,
  x: tf.Tensor,
  table_VE: tf.Tensor2D,
  { ids, rows_KE }: TokenRows,
): tf.Tensor {
  const V = table_VE.shape[0];
  const change_KE = tf.sub(rows_KE, embedding(tf.tensor1d([...ids], 'int32'), table_VE)) as tf.Tensor2D;
  const change_NK = linear(x, change_KE).reshape([-1, ids.length]);
  const column_KV = tf.oneHot(tf.tensor1d([...ids], 'int32'), V).toFloat();
  return tf.add(logits, tf.matMul(change_NK, column_KV).reshape(logits.shape));
}

/**
 * `linearCrossEntropy` of a tied head with trained rows, with gradients for x and these rows.
 *
 * Never forms the gradient of the whole table. That of row k is Σₙ maskₙ·(pₙₖ − [targetₙ = k])·xₙ, which needs only the
 * probabilities of the trained rows; they follow from that of the first row and differences of logits.
 */
export function tiedCrossEntropy(
  x_NE: tf.Tensor2D,
  table_VE: tf.Tensor2D,
  tokenRows: TokenRows,
  targets_N: tf.Tensor1D,
  mask_N?: tf.Tensor1D,
): tf.Scalar {
  const head_VE = replaceRows(table_VE, tokenRows);
  const loss = linearCrossEntropy(x_NE, head_VE, targets_N, mask_N, { frozenWeight: true });
  if (tf.engine().state.gradientDepth === 0) return loss;
  const withGradientOfRows = tf.customGrad((loss, rows, save) => {
    // Not in the backward pass, which would hold the copy of the table until then.
    const gradient_KE = rowGradient(x_NE, head_VE, rows as tf.Tensor2D, tokenRows.ids, targets_N, mask_N);
    (save as tf.GradSaveFunc)([gradient_KE]);
    return {
      value: (loss as tf.Tensor).clone(),
      gradFunc: (dy: tf.Tensor, [gradient_KE]: tf.Tensor[]) => [dy.clone(), tf.mul(dy, gradient_KE)],
    };
  });
  return withGradientOfRows(loss, tokenRows.rows_KE) as tf.Scalar;
}

function rowGradient(
  x_NE: tf.Tensor2D,
  head_VE: tf.Tensor2D,
  rows_KE: tf.Tensor2D,
  ids: readonly number[],
  targets_N: tf.Tensor1D,
  mask_N: tf.Tensor1D | undefined,
): tf.Tensor2D {
  const N = x_NE.shape[0];
  const first_N = tf.fill([N], ids[0], 'int32') as tf.Tensor1D;
  const logFirst_N1 = scoreTokens(x_NE, head_VE, first_N).logProbabilities.reshape([N, 1]);
  const logits_NK = linear(x_NE, rows_KE) as tf.Tensor2D;
  const p_NK = tf.exp(tf.add(tf.sub(logits_NK, logits_NK.slice([0, 0], [N, 1])), logFirst_N1));
  const isTarget_NK = tf.equal(targets_N.reshape([N, 1]), tf.tensor2d([...ids], [1, ids.length], 'int32'));
  const dLogits_NK = tf.sub(p_NK, isTarget_NK.toFloat());
  return tf.matMul(mask_N ? tf.mul(dLogits_NK, mask_N.reshape([N, 1])) : dLogits_NK, x_NE, true, false);
}
