/**
 * Attention and loss composed of a backend's own ops, in blocks, so that memory stays bounded: for backends with fast
 * matrix products but without fused kernels.
 *
 * Shape suffixes as in reference.ts; t queries of a block, s keys that a block attends to.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { KernelName, KernelSignatures } from './kernel-signatures.ts';
import { visibleKeys_BTS } from './reference.ts';

interface Call<Name extends KernelName> {
  inputs: { [Input in keyof KernelSignatures[Name]['inputs']]: tf.Tensor };
  attrs: KernelSignatures[Name]['attrs'];
}

/** Queries of a block. */
const BLOCK = 256;

/** Logits held at once, 64 MiB. */
const CHUNK_NUMBERS = 1 << 24;

/** A block of queries and the keys up to its last: scores `[B, H, t, s]`, masked ones far below all others. */
function blockAt({ inputs, attrs }: Call<'Attention'>, from: number) {
  const { q, k, v, segmentIds, prefixIds } = inputs;
  const [B, T, H, D] = q.shape as [number, number, number, number];
  const [, S, G] = k.shape as [number, number, number, number];
  const count = Math.min(BLOCK, T - from);
  const numKeys = S - T + from + count;
  /** `[B, H, t, s]` of a tensor that is grouped by key heads; `groups` is the inverse. */
  const heads = (x: tf.Tensor): tf.Tensor4D => x.reshape([B, H, count, -1]);
  const groups = (x: tf.Tensor): tf.Tensor4D => x.reshape([B, G, (H / G) * count, -1]);
  /** The block of a tensor of the shape of the queries, grouped by key head: `[B, G, H/G · t, D]`. */
  const queries = (x_BTHD: tf.Tensor): tf.Tensor4D =>
    tf.transpose(x_BTHD.slice([0, from], [B, count]), [0, 2, 1, 3]).reshape([B, G, (H / G) * count, D]);
  /** `[B, t, H, D]` of a tensor of the shape of `queries`. */
  const ungroup = (x_BGtD: tf.Tensor) => tf.transpose(heads(x_BGtD), [0, 2, 1, 3]);
  /** Rows up to the last visible key, zeros beyond: `[B, S, G, D]`. */
  const pad = (x_BGsD: tf.Tensor) => {
    const [none, rest]: [number, number][] = [
      [0, 0],
      [0, S - numKeys],
    ];
    return tf.pad(tf.transpose(x_BGsD, [0, 2, 1, 3]), [none, rest, none, none]);
  };
  const visibleRows = (x: tf.Tensor) => x.slice([0, 0], [B, numKeys]);
  const q_BGtD = queries(q);
  const [k_BGsD, v_BGsD] = [k, v].map((x) => tf.transpose(visibleRows(x), [0, 2, 1, 3]));
  const visible = visibleKeys_BTS(count, numKeys, {
    window: attrs.window || undefined,
    segmentIds: segmentIds && visibleRows(segmentIds),
    prefixIds: prefixIds && visibleRows(prefixIds),
  });
  const hidden_B1ts = tf.sub(1, visible.expandDims(1).cast('float32')).mul(-1e30);
  const scores_BHts = heads(tf.matMul(q_BGtD, k_BGsD, false, true))
    .mul(attrs.scale)
    .add(hidden_B1ts);
  return { q_BGtD, k_BGsD, v_BGsD, scores_BHts, queries, groups, ungroup, pad };
}

const starts = (count: number, step: number) =>
  Array.from({ length: Math.ceil(count / step) }, (_, i) => i * step);

const kernels: { [Name in KernelName]?: (call: Call<Name>) => tf.Tensor[] } = {
  Attention(call) {
    const parts = starts(call.inputs.q.shape[1]!, BLOCK).map((from) =>
      tf.tidy(() => {
        const block = blockAt(call, from);
        const logSumExp_BHt1 = tf.logSumExp(block.scores_BHts, -1, true);
        const weights = block.groups(tf.exp(tf.sub(block.scores_BHts, logSumExp_BHt1)));
        return [block.ungroup(tf.matMul(weights, block.v_BGsD)), logSumExp_BHt1.squeeze([3])];
      }),
    );
    return joinEach(parts, [1, 2]);
  },

  AttentionGrad(call) {
    const { dy, q, k, out, logSumExp } = call.inputs;
    const T = q.shape[1]!;
    const dqs: tf.Tensor[] = [];
    let [dk, dv] = [tf.zerosLike(k), tf.zerosLike(k)];
    for (const from of starts(T, BLOCK)) {
      const [dq, nextDk, nextDv] = tf.tidy(() => {
        const block = blockAt(call, from);
        const dy_BGtD = block.queries(dy);
        const sums_BHt1 = logSumExp.slice([0, 0, from], [-1, -1, Math.min(BLOCK, T - from)]).expandDims(3);
        const weights = tf.exp(tf.sub(block.scores_BHts, sums_BHt1));
        const along_BGt1 = tf.sum(tf.mul(dy_BGtD, block.queries(out)), -1, true);
        const dWeights = tf.matMul(dy_BGtD, block.v_BGsD, false, true);
        const dScores = tf.mul(block.groups(weights), tf.sub(dWeights, along_BGt1)).mul(call.attrs.scale);
        return [
          block.ungroup(tf.matMul(dScores, block.k_BGsD)),
          tf.add(dk, block.pad(tf.matMul(dScores, block.q_BGtD, true))),
          tf.add(dv, block.pad(tf.matMul(block.groups(weights), dy_BGtD, true))),
        ];
      });
      tf.dispose([dk, dv]);
      dqs.push(dq);
      [dk, dv] = [nextDk, nextDv];
    }
    return [join(dqs, 1), dk, dv];
  },

  LinearCrossEntropy({ inputs: { x, weight, targets, mask }, attrs: { gradients, zLoss } }) {
    const [N, V] = [x.shape[0], weight.shape[0]];
    const rows = Math.max(1, Math.floor(CHUNK_NUMBERS / V));
    const losses: tf.Tensor[] = [];
    const squares: tf.Tensor[] = [];
    const dxs: tf.Tensor[] = [];
    let dWeight = gradients === 'both' ? tf.zerosLike(weight) : undefined;
    for (const from of starts(N, rows)) {
      const [loss, square, dx, next] = tf.tidy(() => {
        const of = (tensor: tf.Tensor) => tensor.slice([from], [Math.min(rows, N - from)]);
        const logits = tf.matMul(of(x), weight, false, true);
        const target = tf.oneHot(of(targets), V).toFloat();
        const sums_N1 = tf.logSumExp(logits, -1, true);
        const loss_N = tf.sub(sums_N1.squeeze([1]), tf.sum(tf.mul(logits, target), -1));
        const masked = (values_N: tf.Tensor) => (mask ? tf.mul(values_N, of(mask)) : values_N);
        const results = [masked(loss_N), masked(tf.square(sums_N1.squeeze([1])))];
        if (gradients === 'none') return results;
        const softmax = tf.exp(tf.sub(logits, sums_N1));
        const probabilities = zLoss > 0 ? tf.mul(softmax, tf.mul(sums_N1, 2 * zLoss).add(1)) : softmax;
        const plain = tf.sub(probabilities, target);
        const dLogits = mask ? tf.mul(plain, of(mask).expandDims(1)) : plain;
        const dx = tf.matMul(dLogits, weight);
        return [...results, dx, ...(dWeight ? [tf.add(dWeight, tf.matMul(dLogits, of(x), true))] : [])];
      });
      losses.push(loss);
      squares.push(square);
      if (dx) dxs.push(dx);
      if (next) {
        dWeight?.dispose();
        dWeight = next;
      }
    }
    if (zLoss === 0) tf.dispose(squares.splice(0));
    const joined = [losses, squares, dxs].flatMap((parts) => (parts.length > 0 ? [join(parts, 0)] : []));
    return dWeight ? [...joined, dWeight] : joined;
  },

  ScoreTokens({ inputs: { x, weight, targets } }) {
    const [N, V] = [x.shape[0], weight.shape[0]];
    const rows = Math.max(1, Math.floor(CHUNK_NUMBERS / V));
    const parts = starts(N, rows).map((from) =>
      tf.tidy(() => {
        const of = (tensor: tf.Tensor) => tensor.slice([from], [Math.min(rows, N - from)]);
        const logits = tf.matMul(of(x), weight, false, true);
        const target_N = tf.sum(tf.mul(logits, tf.oneHot(of(targets), V)), -1);
        return [tf.sub(tf.logSumExp(logits, -1), target_N), tf.argMax(logits, -1)];
      }),
    );
    return joinEach(parts, [0, 0]);
  },
};

/** Concatenates parts along an axis and frees them. */
function join(parts: tf.Tensor[], axis: number): tf.Tensor {
  if (parts.length === 1) return parts[0];
  const whole = tf.concat(parts, axis);
  tf.dispose(parts);
  return whole;
}

/** The outputs of several calls, each joined along its axis. */
function joinEach(calls: tf.Tensor[][], axes: number[]): tf.Tensor[] {
  return axes.map((axis, i) =>
    join(
      calls.map((outputs) => outputs[i]),
      axis,
    ),
  );
}

/** Registers these kernels for a backend, where it has none. */
export function registerComposedKernels(backendName: string): void {
  for (const [kernelName, kernel] of Object.entries(kernels)) {
    if (tf.getKernel(kernelName, backendName)) continue;
    tf.registerKernel({ kernelName, backendName, kernelFunc: kernel as unknown as tf.KernelFunc });
  }
}
