import * as tf from '@tensorflow/tfjs-core';
import { TokenInputError } from './errors.ts';
import type { Llama } from './model.ts';
import { attentionWindow } from './windows.ts';

/** Attention probabilities of some queries of one head. */
export interface AttentionBlock {
  readonly layer: number;
  /** Query head. */
  readonly head: number;
  /** Position of the first query. */
  readonly queryStart: number;
  readonly numQueries: number;
  /** Number of keys: the length of the sequence. */
  readonly numKeys: number;
  /** `[numQueries, numKeys]`; a row sums to one, masked keys are zero. Overwritten after the visit. */
  readonly probabilities: Float32Array;
}

/** 4 MB: many queries of a short sequence, few of a long one. */
const BLOCK_ELEMENTS = 2 ** 20;

/**
 * Visits the attention probabilities of every head over one sequence in blocks of queries, in order of layer, head and
 * query.
 *
 * A block is at most 4 MB, or one row. Memory also holds the queries and keys of all layers:
 * `layers · T · (heads + key/value heads) · head_dim` floats.
 *
 * @param ids 1 to `max_position_embeddings` ids of one sequence
 * @param visit called with each block; its array is valid only during the call
 * @throws TokenInputError for no ids or one outside the vocabulary, ContextLengthError for too many, the
 *   reason of the signal if it aborts
 */
export async function attentionMaps(
  model: Llama,
  ids: readonly number[],
  visit: (block: AttentionBlock) => void,
  { signal }: { signal?: AbortSignal } = {},
): Promise<void> {
  if (ids.length === 0) throw new TokenInputError('attentionMaps: got no ids, expected at least one');
  signal?.throwIfAborted();
  const { num_attention_heads: numHeads, num_key_value_heads: numGroups, head_dim } = model.config;
  const scale = 1 / Math.sqrt(head_dim);
  const layers: { q_BTHD: tf.Tensor4D; k_BTGD: tf.Tensor4D }[] = [];
  try {
    tf.tidy(() => {
      const onAttention = (_layer: number, q_BTHD: tf.Tensor4D, k_BTGD: tf.Tensor4D) => {
        layers.push({ q_BTHD: tf.keep(q_BTHD.clone()), k_BTGD: tf.keep(k_BTGD.clone()) });
      };
      model.hidden(tf.tensor2d([...ids], [1, ids.length], 'int32'), { onAttention });
    });
    const numQueries = Math.max(1, Math.floor(BLOCK_ELEMENTS / ids.length));
    const buffer = new Float32Array(Math.min(numQueries, ids.length) * ids.length);
    for (const [layer, { q_BTHD, k_BTGD }] of layers.entries()) {
      const window = attentionWindow(model.config, layer) ?? ids.length;
      const [queries, keys] = await Promise.all([q_BTHD.data<'float32'>(), k_BTGD.data<'float32'>()]);
      for (let head = 0; head < numHeads; head++) {
        const group = Math.floor((head * numGroups) / numHeads);
        const q_TD = headOf(queries, numHeads, head, head_dim);
        const k_TD = headOf(keys, numGroups, group, head_dim);
        for (let start = 0; start < ids.length; start += numQueries) {
          const end = Math.min(ids.length, start + numQueries);
          const firstKey = Math.max(0, start - window + 1);
          const scores = dotProducts(
            q_TD.subarray(start * head_dim, end * head_dim),
            k_TD.subarray(firstKey * head_dim, end * head_dim),
            head_dim,
          );
          const values = await scores.data();
          scores.dispose();
          const probabilities = buffer.subarray(0, (end - start) * ids.length);
          softmax(values as Float32Array, probabilities, { start, end, firstKey, window, scale });
          visit({
            layer,
            head,
            queryStart: start,
            numQueries: end - start,
            numKeys: ids.length,
            probabilities,
          });
        }
        // Lets the signal fire.
        await tf.nextFrame();
        signal?.throwIfAborted();
      }
      tf.dispose([q_BTHD, k_BTGD]);
    }
  } finally {
    for (const { q_BTHD, k_BTGD } of layers) tf.dispose([q_BTHD, k_BTGD]);
  }
}

/** The vectors of one head, `[T, head_dim]`, of `[1, T, heads, head_dim]`: slices across heads are slow on some backends. */
function headOf(data_BTHD: Float32Array, numHeads: number, head: number, headDim: number): Float32Array {
  const length = data_BTHD.length / (numHeads * headDim);
  const head_TD = new Float32Array(length * headDim);
  for (let t = 0; t < length; t++) {
    const from = (t * numHeads + head) * headDim;
    head_TD.set(data_BTHD.subarray(from, from + headDim), t * headDim);
  }
  return head_TD;
}

/** q·kᵀ, `[queries, keys]`. */
function dotProducts(q_QD: Float32Array, k_KD: Float32Array, headDim: number): tf.Tensor2D {
  return tf.tidy(() =>
    tf.matMul(
      tf.tensor2d(q_QD, [q_QD.length / headDim, headDim]),
      tf.tensor2d(k_KD, [k_KD.length / headDim, headDim]),
      false,
      true,
    ),
  );
}

/** Converts rows of scores to probabilities, each over the visible keys of its query. */
function softmax(
  scores: Float32Array,
  probabilities: Float32Array,
  {
    start,
    end,
    firstKey,
    window,
    scale,
  }: { start: number; end: number; firstKey: number; window: number; scale: number },
): void {
  const [numScores, numKeys] = [end - firstKey, probabilities.length / (end - start)];
  probabilities.fill(0);
  for (let query = start; query < end; query++) {
    const first = Math.max(0, query - window + 1);
    const from = (query - start) * numScores - firstKey;
    const to = (query - start) * numKeys;
    let largest = Number.NEGATIVE_INFINITY;
    for (let key = first; key <= query; key++) largest = Math.max(largest, scores[from + key]);
    let sum = 0;
    for (let key = first; key <= query; key++) {
      const weight = Math.exp((scores[from + key] - largest) * scale);
      probabilities[to + key] = weight;
      sum += weight;
    }
    for (let key = first; key <= query; key++) probabilities[to + key] /= sum;
  }
}
