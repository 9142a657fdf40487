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
class Block {
  readonly #from: number;
  readonly #count: number;
  readonly #numKeys: number;
  readonly #sizes: { B: number; H: number; G: number; D: number };
  readonly q_BGtD: tf.Tensor4D;
  readonly k_BGsD: tf.Tensor4D;
  readonly v_BGsD: tf.Tensor4D;
  readonly scores_BHts: tf.Tensor4D;

  constructor({ inputs: { q, k, v, segmentIds, prefixIds }, attrs }: Call<'Attention'>, from: number) {
    const [B, T, H, D] = q.shape as [number, number, number, number];
    const [, S, G] = k.shape;
    this.#from = from;
    this.#count = Math.min(BLOCK, T - from);
    this.#numKeys = S - T + from + this.#count;
    this.#sizes = { B, H, G, D };
    this.q_BGtD = this.queries(q);
    [this.k_BGsD, this.v_BGsD] = [k, v].map((x) =>
      tf.transpose(x.slice([0, 0], [B, this.#numKeys]), [0, 2, 1, 3]),
    ) as tf.Tensor4D[];
    const seen = (ids: tf.Tensor | undefined) => ids?.slice([0, 0], [B, this.#numKeys]);
    const visible = visibleKeys_BTS(this.#count, this.#numKeys, {
      window: attrs.window || undefined,
      segmentIds: seen(segmentIds),
      prefixIds: seen(prefixIds),
    });
    const hidden_B1ts = tf.sub(1, visible.expandDims(1).cast('float32')).mul(-1e30);
    const products = this.heads(tf.matMul(this.q_BGtD, this.k_BGsD, false, true));
    this.scores_BHts = products.mul(attrs.scale).add(hidden_B1ts) as tf.Tensor4D;
  }

  /** The block of a tensor of the shape of the queries, grouped by key head: `[B, G, H/G · t, D]`. */
  queries(x_BTHD: tf.Tensor): tf.Tensor4D {
    const { B, G, H, D } = this.#sizes;
    const x_BHtD = tf.transpose(x_BTHD.slice([0, this.#from], [B, this.#count]), [0, 2, 1, 3]);
    return x_BHtD.reshape([B, G, (H / G) * this.#count, D]);
  }

  /** `[B, H, t, s]` of a tensor that is grouped by key heads; {@link groups} is the inverse. */
  heads(x: tf.Tensor): tf.Tensor4D {
    return x.reshape([this.#sizes.B, this.#sizes.H, this.#count, -1]);
  }

  groups(x: tf.Tensor): tf.Tensor4D {
    const { B, G, H } = this.#sizes;
    return x.reshape([B, G, (H / G) * this.#count, -1]);
  }

  /** `[B, t, H, D]` of a tensor of the shape of {@link queries}. */
  ungroup(x_BGtD: tf.Tensor): tf.Tensor {
    return tf.transpose(this.heads(x_BGtD), [0, 2, 1, 3]);
  }

  /** Rows up to the last visible key, zeros beyond: `[B, S, G, D]`. */
  pad(x_BGsD: tf.Tensor, S: number): tf.Tensor {
    const [none, rest]: [number, number][] = [
      [0, 0],
      [0, S - this.#numKeys],
    ];
    return tf.pad(tf.transpose(x_BGsD, [0, 2, 1, 3]), [none, rest, none, none]);
  }
}

const starts = (count: number, step: number) =>
  Array.from({ length: Math.ceil(count / step) }, (_, i) => i * step);

const kernels: { [Name in KernelName]?: (call: Call<Name>) => tf.Tensor[] } = {
  Attention(call) {
    const parts = starts(call.inputs.q.shape[1]!, BLOCK).map((from) =>
      tf.tidy(() => {
        const block = new Block(call, from);
        const logSumExp_BHt1 = tf.logSumExp(block.scores_BHts, -1, true);
        const weights = block.groups(tf.exp(tf.sub(block.scores_BHts, logSumExp_BHt1)));
        return [block.ungroup(tf.matMul(weights, block.v_BGsD)), logSumExp_BHt1.squeeze([3])];
      }),
    );
    return joinEach(parts, [1, 2]);
  },

  AttentionGrad(call) {
    const { dy, q, k, out, logSumExp } = call.inputs;
    const [S, T] = [k.shape[1]!, q.shape[1]!];
    const dqs: tf.Tensor[] = [];
    let [dk, dv] = [tf.zerosLike(k), tf.zerosLike(k)];
    for (const from of starts(T, BLOCK)) {
      const [dq, nextDk, nextDv] = tf.tidy(() => {
        const block = new Block(call, from);
        const dy_BGtD = block.queries(dy);
        const sums_BHt1 = logSumExp.slice([0, 0, from], [-1, -1, Math.min(BLOCK, T - from)]).expandDims(3);
        const weights = tf.exp(tf.sub(block.scores_BHts, sums_BHt1));
        const along_BGt1 = tf.sum(tf.mul(dy_BGtD, block.queries(out)), -1, true);
        const dWeights = tf.matMul(dy_BGtD, block.v_BGsD, false, true);
        const dScores = tf.mul(block.groups(weights), tf.sub(dWeights, along_BGt1)).mul(call.attrs.scale);
        return [
          block.ungroup(tf.matMul(dScores, block.k_BGsD)),
          tf.add(dk, block.pad(tf.matMul(dScores, block.q_BGtD, true), S)),
          tf.add(dv, block.pad(tf.matMul(block.groups(weights), dy_BGtD, true), S)),
        ];
      });
      tf.dispose([dk, dv]);
      dqs.push(dq);
      [dk, dv] = [nextDk, nextDv];
    }
    return [join(dqs, 1), dk, dv];
  },

  LinearCrossEntropy({ inputs: { x, weight, targets, mask }, attrs: { gradients } }) {
    const [N, V] = [x.shape[0], weight.shape[0]];
    const rows = Math.max(1, Math.floor(CHUNK_NUMBERS / V));
    const losses: tf.Tensor[] = [];
    const dxs: tf.Tensor[] = [];
    let dWeight = gradients === 'both' ? tf.zerosLike(weight) : undefined;
    for (const from of starts(N, rows)) {
      const [loss, dx, next] = tf.tidy(() => {
        const of = (tensor: tf.Tensor) => tensor.slice([from], [Math.min(rows, N - from)]);
        const logits = tf.matMul(of(x), weight, false, true);
        const target = tf.oneHot(of(targets), V).toFloat();
        const sums_N1 = tf.logSumExp(logits, -1, true);
        const loss_N = tf.sub(sums_N1.squeeze([1]), tf.sum(tf.mul(logits, target), -1));
        const masked = mask ? tf.mul(loss_N, of(mask)) : loss_N;
        if (gradients === 'none') return [masked];
        const plain = tf.sub(tf.exp(tf.sub(logits, sums_N1)), target);
        const dLogits = mask ? tf.mul(plain, of(mask).expandDims(1)) : plain;
        const dx = tf.matMul(dLogits, weight);
        return dWeight ? [masked, dx, tf.add(dWeight, tf.matMul(dLogits, of(x), true))] : [masked, dx];
      });
      losses.push(loss);
      if (dx) dxs.push(dx);
      if (next) {
        dWeight?.dispose();
        dWeight = next;
      }
    }
    return [join(losses, 0), ...(dxs.length > 0 ? [join(dxs, 0)] : []), ...(dWeight ? [dWeight] : [])];
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
