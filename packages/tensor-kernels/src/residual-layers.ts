/**
 * The two halves of a transformer block, each as one op with one gradient.
 *
 * A tape of small ops keeps every intermediate tensor and adds gradients in separate passes. Here the backward pass
 * recomputes the norm and the gated product, which are cheap, keeps the rest, and accumulates in the matrix products.
 *
 * Shape suffixes as in reference.ts; E channels, F feed-forward size.
 */
import * as tf from '@tensorflow/tfjs-core';
import { customGradient } from './custom-gradient.ts';
import {
  attention,
  hasKernel,
  linear,
  product,
  requireShape,
  rmsNorm,
  rotaryEmbedding,
  runKernel,
  swiGlu,
} from './ops.ts';
import type { AttentionOptions } from './reference.ts';

/** Weights of {@link residualFeedForward}. */
export type FeedForwardWeights = Record<'norm_E' | 'gate_FE' | 'up_FE' | 'down_EF', tf.Tensor>;

/** Weights of {@link residualAttention}. */
export interface AttentionWeights extends Record<'norm_E' | 'q_OE' | 'k_OE' | 'v_OE' | 'o_EO', tf.Tensor> {
  /** Added to the projections of the same name. */
  biases?: Record<'q' | 'k' | 'v', tf.Tensor>;
  /** RMSNorm of each head of queries and keys before they are rotated (QK-norm, as in Qwen3), `[D]`. */
  headNorms?: Record<'q' | 'k', tf.Tensor>;
}

/** Options of {@link residualAttention}. */
export interface ResidualAttentionOptions extends AttentionOptions {
  epsilon: number;
  /** Tables of {@link rotaryEmbedding}; absent: queries and keys are not rotated. */
  rotary?: { cos: tf.Tensor; sin: tf.Tensor };
  headSize: number;
  drop?: Drop;
}

/** Dropout of an output before it is added: a linear map of tensors, equal at every call; default: the identity. */
export type Drop = (x: tf.Tensor) => tf.Tensor;

/** The gradient of the weight of x·weightᵀ. */
const weightGradient = (dy: tf.Tensor, x: tf.Tensor) => product(dy, x, { transposeA: true });

/** The gradient of a bias, as a product, which has a fast kernel for every size. */
const biasGradient = (dy: tf.Tensor) =>
  tf.tidy(() => product(tf.ones([1, dy.size / dy.shape[dy.rank - 1]]), dy).as1D());

/** Frees a tensor after its last use. */
function last<T>(tensor: tf.Tensor, use: (tensor: tf.Tensor) => T): T {
  const result = use(tensor);
  tensor.dispose();
  return result;
}

/** x + drop(y·weightᵀ). Without dropout the product adds x. */
function addOutput(x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor, drop: Drop | undefined): tf.Tensor {
  if (!drop) return product(y, weight, { transposeB: true, plus: x });
  const output = last(product(y, weight, { transposeB: true }), drop);
  return last(output, () => tf.add(x, output));
}

/** Passes the gradient of an output, from that of the sum, to `use`. */
function throughDropout<T>(dy: tf.Tensor, drop: Drop | undefined, use: (dy: tf.Tensor) => T): T {
  return drop ? last(drop(dy), use) : use(dy);
}

/**
 * Feed-forward half of a block: x + drop(down · swiGlu(gate · n, up · n)), n = rmsNorm(x).
 *
 * @param x float32 `[..., E]`.
 * @returns float32 of x's shape.
 */
export function residualFeedForward<T extends tf.Tensor>(
  x: T,
  weights: FeedForwardWeights,
  epsilon: number,
  drop?: Drop,
): T {
  const { norm_E, gate_FE, up_FE, down_EF } = weights;
  const E = x.shape[x.rank - 1];
  requireShape('residualFeedForward', 'norm', norm_E, [E]);
  requireShape('residualFeedForward', 'gate', gate_FE, [null, E]);
  requireShape('residualFeedForward', 'up', up_FE, gate_FE.shape);
  requireShape('residualFeedForward', 'down', down_EF, [E, gate_FE.shape[0]]);
  if (!hasKernel('Product')) {
    const n = rmsNorm(x, norm_E, epsilon);
    const output = linear(swiGlu(linear(n, gate_FE), linear(n, up_FE)), down_EF);
    return tf.add(x, drop ? drop(output) : output);
  }
  return customGradient([x, norm_E, gate_FE, up_FE, down_EF], ([x, norm, wGate, wUp, wDown], save) => {
    const n = runKernel('RmsNorm', { x, weight: norm }, { epsilon })[0];
    const gate = product(n, wGate, { transposeB: true });
    const up = last(n, () => product(n, wUp, { transposeB: true }));
    const value = last(runKernel('SwiGlu', { gate, up })[0], (y) => addOutput(x, y, wDown, drop));
    save([x, norm, wGate, wUp, wDown, gate, up]);
    return {
      value,
      gradient: (dy, [x, norm, wGate, wUp, wDown, gate, up]) => {
        const [dDown, dGate, dUp] = throughDropout(dy, drop, (dy) => [
          last(runKernel('SwiGlu', { gate, up })[0], (y) => weightGradient(dy, y)),
          ...last(product(dy, wDown), (d) => runKernel('SwiGluGrad', { dy: d, gate, up })),
        ]);
        const n = runKernel('RmsNorm', { x, weight: norm }, { epsilon })[0];
        const [dWGate, dWUp] = [weightGradient(dGate, n), weightGradient(dUp, n)];
        const dn = product(dUp, wUp, { plus: product(dGate, wGate) });
        const [dx, dNorm] = runKernel('RmsNormGrad', { dy: dn, x, weight: norm, plus: dy }, { epsilon });
        return [dx, dNorm, dWGate, dWUp, dDown];
      },
    };
  }) as T;
}

/**
 * Attention half of a block: x + drop(o · attention(rotary(q · n), rotary(k · n), v · n)), n = rmsNorm(x). With
 * `headNorms`, rotary(rmsNorm(q · n)) and likewise for k.
 *
 * @param x_BTE float32 `[B, T, E]`.
 * @returns float32 `[B, T, E]`.
 */
export function residualAttention(
  x_BTE: tf.Tensor,
  weights: AttentionWeights,
  options: ResidualAttentionOptions,
): tf.Tensor3D {
  const { norm_E, q_OE, k_OE, v_OE, o_EO, biases, headNorms } = weights;
  const { epsilon, rotary, headSize: D, drop, ...attentionOptions } = options;
  requireShape('residualAttention', 'x', x_BTE, [null, null, null]);
  const [B, T, E] = x_BTE.shape;
  requireShape('residualAttention', 'norm', norm_E, [E]);
  requireShape('residualAttention', 'q', q_OE, [null, E]);
  requireShape('residualAttention', 'k', k_OE, [null, E]);
  requireShape('residualAttention', 'v', v_OE, k_OE.shape);
  requireShape('residualAttention', 'o', o_EO, [E, q_OE.shape[0]]);
  const biasList = biases ? [biases.q, biases.k, biases.v] : [];
  biasList.forEach((bias, i) => {
    requireShape('residualAttention', `bias of ${'qkv'[i]}`, bias, [[q_OE, k_OE, v_OE][i].shape[0]]);
  });
  const headNormList = headNorms ? [headNorms.q, headNorms.k] : [];
  headNormList.forEach((norm, i) => {
    requireShape('residualAttention', `head norm of ${'qk'[i]}`, norm, [D]);
  });
  const heads = (y: tf.Tensor) => tf.reshape(y, [B, T, y.shape[2]! / D, D]) as tf.Tensor4D;
  const flat = (y: tf.Tensor) => tf.reshape(y, [B, T, -1]);
  if (!hasKernel('Product')) {
    const n = rmsNorm(x_BTE, norm_E, epsilon);
    const [q, k, v] = [q_OE, k_OE, v_OE].map((weight, i) => {
      const y = linear(n, weight);
      return heads(biases ? tf.add(y, biasList[i]) : y);
    });
    const [turnedQ, turnedK] = [q, k].map((y, i) => {
      const normed = headNorms ? rmsNorm(y, headNormList[i], epsilon) : y;
      return rotary ? rotaryEmbedding(normed, rotary.cos, rotary.sin) : normed;
    });
    const output = linear(flat(attention(turnedQ, turnedK, v, attentionOptions)), o_EO);
    return tf.add(x_BTE, drop ? drop(output) : output);
  }
  const { segmentIds, prefixIds, window = 0, scale = 1 / Math.sqrt(D) } = attentionOptions;
  const rotate = (x: tf.Tensor, [cos, sin]: tf.Tensor[], inverse: boolean) =>
    cos ? last(x, () => runKernel('RotaryEmbedding', { x, cos, sin }, { inverse })[0]) : x;
  const normHeads = (x: tf.Tensor, weight: tf.Tensor) => runKernel('RmsNorm', { x, weight }, { epsilon })[0];
  const tables = rotary ? [rotary.cos, rotary.sin] : [];
  const inputs = [x_BTE, norm_E, q_OE, k_OE, v_OE, o_EO, ...biasList, ...headNormList];
  return customGradient(inputs, ([x, norm, wQ, wK, wV, wO, ...others], save) => {
    const [biases, headNorms] = [others.slice(0, biasList.length), others.slice(biasList.length)];
    const n = runKernel('RmsNorm', { x, weight: norm }, { epsilon })[0];
    const project = (weight: tf.Tensor, bias: tf.Tensor | undefined) => {
      const y = product(n, weight, { transposeB: true });
      return last(bias ? last(y, () => tf.add(y, bias)) : y, heads);
    };
    // With head norms the backward pass needs the projections, and recomputes what attention sees.
    const seen = (y: tf.Tensor, norm: tf.Tensor | undefined, tables: tf.Tensor[]) =>
      norm ? rotate(normHeads(y, norm), tables, false) : y;
    const projected = [project(wQ, biases[0]), project(wK, biases[1])].map((y, i) =>
      headNorms[i] ? y : rotate(y, tables, false),
    );
    const v = last(n, () => project(wV, biases[2]));
    const [q, k] = projected.map((y, i) => seen(y, headNorms[i], tables));
    const [out, logSumExp] = runKernel('Attention', { q, k, v, segmentIds, prefixIds }, { scale, window });
    if (headNorms.length > 0) tf.dispose([q, k]);
    const segments = [...(segmentIds ? [segmentIds] : []), ...(prefixIds ? [prefixIds] : [])];
    save([x, norm, wQ, wK, wV, wO, ...projected, v, out, logSumExp, ...headNorms, ...tables, ...segments]);
    return {
      value: addOutput(x, flat(out), wO, drop),
      gradient: (dy, [x, norm, wQ, wK, wV, wO, savedQ, savedK, v, out, logSumExp, ...others]) => {
        const headNorms = others.splice(0, headNormList.length);
        const tables = others.splice(0, rotary ? 2 : 0);
        const [segmentIds, prefixIds] = others;
        const projected = [savedQ, savedK];
        const [q, k] = projected.map((y, i) => seen(y, headNorms[i], tables));
        const attended = { q, k, v, out, logSumExp, segmentIds, prefixIds };
        const [dO, dq, dk, dv] = throughDropout(dy, drop, (dy) => [
          weightGradient(dy, flat(out)),
          ...last(product(dy, wO), (d) =>
            runKernel('AttentionGrad', { dy: heads(d), ...attended }, { scale, window }),
          ),
        ]);
        const dHeadNorms: tf.Tensor[] = [];
        const [dProjectedQ, dProjectedK] = [dq, dk].map((d, i) => {
          const turned = rotate(d, tables, true);
          if (!headNorms[i]) return turned;
          const ofNorm = { dy: turned, x: projected[i], weight: headNorms[i] };
          const [dx, dNorm] = last(turned, () => runKernel('RmsNormGrad', ofNorm, { epsilon }));
          dHeadNorms.push(dNorm);
          return dx;
        });
        const gradients = [dProjectedQ, dProjectedK, dv].map(flat);
        const n = runKernel('RmsNorm', { x, weight: norm }, { epsilon })[0];
        const dWeights = gradients.map((d) => weightGradient(d, n));
        const [dQ, dK, dV] = gradients;
        const dn = product(dV, wV, { plus: product(dK, wK, { plus: product(dQ, wQ) }) });
        const [dx, dNorm] = runKernel('RmsNormGrad', { dy: dn, x, weight: norm, plus: dy }, { epsilon });
        const dBiases = biasList.length > 0 ? gradients.map(biasGradient) : [];
        return [dx, dNorm, ...dWeights, dO, ...dBiases, ...dHeadNorms];
      },
    };
  }) as tf.Tensor3D;
}
