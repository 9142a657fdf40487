/**
 * The ops: each runs the kernel of the current backend if it has one, else the reference. Gradients are kernels too.
 *
 * Shape suffixes as in reference.ts.
 */
import * as tf from '@tensorflow/tfjs-core';
import { customGradient, isRecording } from './custom-gradient.ts';
import type { KernelName, KernelSignatures } from './kernel-signatures.ts';
import {
  type AttentionOptions,
  attentionReference,
  embeddingReference,
  linearCrossEntropyReference,
  linearReference,
  rmsNormReference,
  rotaryEmbeddingReference,
  scoreTokensReference,
  swiGluReference,
  zLossReference,
} from './reference.ts';

/** Returns whether the current backend has a kernel. */
export function hasKernel(kernelName: KernelName): boolean {
  return tf.getKernel(kernelName, tf.getBackend()) !== undefined;
}

/** Runs a kernel of the current backend; omits undefined inputs. */
export function runKernel<Name extends KernelName>(
  name: Name,
  inputs: KernelSignatures[Name]['inputs'],
  ...[attributes = {}]: object extends KernelSignatures[Name]['attrs']
    ? []
    : [KernelSignatures[Name]['attrs']]
): tf.Tensor[] {
  const present: tf.NamedTensorInfoMap = {};
  for (const input in inputs) {
    const tensor = inputs[input as never] as tf.TensorInfo | undefined;
    if (tensor !== undefined) present[input] = tensor;
  }
  const out = tf.engine().runKernel(name, present as tf.NamedTensorMap, attributes as tf.NamedAttrMap);
  return (Array.isArray(out) ? out : [out]) as tf.Tensor[];
}

type Ranks = [tf.Rank.R0, tf.Rank.R1, tf.Rank.R2, tf.Rank.R3, tf.Rank.R4];

/**
 * Checks a shape, in which null is any size, and narrows the type: public functions take `tf.Tensor`, since
 * TensorFlow.js's ops return tensors of unknown rank.
 */
export function requireShape<const Shape extends readonly (number | null | undefined)[]>(
  op: string,
  name: string,
  tensor: tf.Tensor,
  expected: Shape,
): asserts tensor is tf.Tensor<Ranks[Shape['length']]> {
  const fits =
    tensor.rank === expected.length && expected.every((n, i) => n == null || n === tensor.shape[i]);
  if (!fits) {
    const want = expected.map((n) => n ?? '*').join(', ');
    throw new Error(`${op}: ${name} has the wrong shape, got [${tensor.shape}], expected [${want}]`);
  }
}

function requireInt32(op: string, name: string, { dtype }: tf.Tensor): void {
  if (dtype !== 'int32') throw new Error(`${op}: ${name} must be int32, got ${dtype}; use ${name}.toInt()`);
}

/**
 * Causal grouped-query attention: softmax(scale · q·kᵀ + mask)·v, with memory linear in length
 * (FlashAttention-2, Dao 2023).
 *
 * Query t has position S − T + t, which covers a KV cache (S > T). Query head h reads key-value
 * head ⌊h / (H/G)⌋ (Ainslie et al. 2023).
 *
 * @param q_BTHD float32 `[B, T, H, D]`.
 * @param k_BSGD float32 `[B, S, G, D]`, S ≥ T, H a multiple of G.
 * @param v_BSGD float32 `[B, S, G, D]`.
 * @returns float32 `[B, T, H, D]`.
 * @throws Error if shapes do not match.
 */
export function attention(
  q_BTHD: tf.Tensor,
  k_BSGD: tf.Tensor,
  v_BSGD: tf.Tensor,
  options: AttentionOptions = {},
): tf.Tensor4D {
  requireShape('attention', 'q', q_BTHD, [null, null, null, null]);
  const [B, T, H, D] = q_BTHD.shape;
  requireShape('attention', 'k', k_BSGD, [B, null, null, D]);
  requireShape('attention', 'v', v_BSGD, k_BSGD.shape);
  const [, S, G] = k_BSGD.shape;
  if (S < T) throw new Error(`attention: fewer keys than queries, got S=${S}, expected S ≥ T=${T}`);
  if (H % G !== 0) throw new Error(`attention: ${H} query heads cannot share ${G} key-value heads evenly`);
  if (options.window !== undefined && !(options.window >= 1)) {
    throw new Error(`attention: window must be at least 1, got ${options.window}`);
  }
  const { segmentIds, prefixIds } = options;
  if (segmentIds) {
    requireShape('attention', 'segmentIds', segmentIds, [B, T]);
    requireInt32('attention', 'segmentIds', segmentIds);
    if (S !== T) throw new Error(`attention: segmentIds need as many keys as queries, got S=${S}, T=${T}`);
  }
  if (prefixIds) {
    if (!segmentIds) throw new Error('attention: prefixIds name segments, give segmentIds too');
    requireShape('attention', 'prefixIds', prefixIds, [B, T]);
    requireInt32('attention', 'prefixIds', prefixIds);
  }
  if (!hasKernel('Attention')) return attentionReference(q_BTHD, k_BSGD, v_BSGD, options);

  const attributes = { scale: options.scale ?? 1 / Math.sqrt(D), window: options.window ?? 0 };
  return customGradient([q_BTHD, k_BSGD, v_BSGD], ([q, k, v], save) => {
    const run = () => runKernel('Attention', { q, k, v, segmentIds, prefixIds }, attributes);
    const [out, logSumExp] = options.keep ? options.keep(run) : run();
    // Constants too: the scope of the forward pass frees all that is not saved.
    save([q, k, v, out, logSumExp, ...(segmentIds ? [segmentIds] : []), ...(prefixIds ? [prefixIds] : [])]);
    return {
      value: out,
      gradient: (dy, [q, k, v, out, logSumExp, segmentIds, prefixIds]) =>
        runKernel('AttentionGrad', { dy, q, k, v, out, logSumExp, segmentIds, prefixIds }, attributes),
    };
  }) as tf.Tensor4D;
}

/**
 * Root-mean-square normalisation: x / √(mean(x²) + ε) · weight over the last axis (Zhang & Sennrich 2019).
 *
 * @param x float32 `[..., C]`.
 * @param weight_C float32 `[C]`.
 * @returns float32 of x's shape.
 */
export function rmsNorm<T extends tf.Tensor>(x: T, weight_C: tf.Tensor, epsilon: number): T {
  requireShape('rmsNorm', 'weight', weight_C, [x.shape[x.rank - 1]]);
  if (!hasKernel('RmsNorm')) return rmsNormReference(x, weight_C, epsilon);
  return customGradient([x, weight_C], ([x, weight], save) => {
    save([x, weight]);
    return {
      value: runKernel('RmsNorm', { x, weight }, { epsilon })[0],
      gradient: (dy, [x, weight]) => runKernel('RmsNormGrad', { dy, x, weight }, { epsilon }),
    };
  }) as T;
}

/**
 * Rotary position embedding in Hugging Face's half-split layout: rotates each pair (x_i, x_{i+D/2}) by its angle
 * (Su et al. 2021).
 *
 * @param x_BTHD float32 `[B, T, H, D]`, D even.
 * @param cos float32 `[T, D/2]` or `[B, T, D/2]`; no gradient flows to the tables.
 * @param sin of cos's shape.
 * @returns float32 `[B, T, H, D]`.
 */
export function rotaryEmbedding(x_BTHD: tf.Tensor, cos: tf.Tensor, sin: tf.Tensor): tf.Tensor4D {
  requireShape('rotaryEmbedding', 'x', x_BTHD, [null, null, null, null]);
  const [B, T, , D] = x_BTHD.shape;
  requireShape('rotaryEmbedding', 'cos', cos, cos.rank === 3 ? [B, T, D / 2] : [T, D / 2]);
  requireShape('rotaryEmbedding', 'sin', sin, cos.shape);
  if (!hasKernel('RotaryEmbedding')) return rotaryEmbeddingReference(x_BTHD, cos, sin);
  return customGradient([x_BTHD], ([x], save) => {
    save([cos, sin]);
    return {
      value: runKernel('RotaryEmbedding', { x, cos, sin }, { inverse: false })[0],
      // A rotation's transpose is its inverse.
      gradient: (dy, [cos, sin]) => runKernel('RotaryEmbedding', { x: dy, cos, sin }, { inverse: true }),
    };
  }) as tf.Tensor4D;
}

/**
 * Gated activation of LLaMA's feed-forward: silu(gate) · up (SwiGLU, Shazeer 2020).
 *
 * @param gate float32 of any shape.
 * @param up of gate's shape.
 * @returns float32 of gate's shape.
 */
export function swiGlu<T extends tf.Tensor>(gate: T, up: T): T {
  requireShape('swiGlu', 'up', up, gate.shape);
  if (!hasKernel('SwiGlu')) return swiGluReference(gate, up);
  return customGradient([gate, up], ([gate, up], save) => {
    save([gate, up]);
    return {
      value: runKernel('SwiGlu', { gate, up })[0],
      gradient: (dy, [gate, up]) => runKernel('SwiGluGrad', { dy, gate, up }),
    };
  }) as T;
}

/**
 * Linear layer without bias, the weight as Hugging Face stores it: x·weightᵀ.
 *
 * @param x float32 `[..., I]`.
 * @param weight_OI float32 `[O, I]`.
 * @returns float32 `[..., O]`.
 */
export function linear(x: tf.Tensor, weight_OI: tf.Tensor): tf.Tensor {
  requireShape('linear', 'weight', weight_OI, [null, x.shape[x.rank - 1]]);
  if (!hasKernel('Product')) return linearReference(x, weight_OI);
  return customGradient([x, weight_OI], ([x, weight], save) => {
    save([x, weight]);
    return {
      value: product(x, weight, { transposeB: true }),
      gradient: (dy, [x, weight]) => [product(dy, weight), product(dy, x, { transposeA: true })],
    };
  });
}

/** op(a) · op(b) + plus, leading axes folded, on a backend that has the kernel. */
export function product(
  a: tf.Tensor,
  b: tf.Tensor,
  options: { transposeA?: boolean; transposeB?: boolean; plus?: tf.Tensor } = {},
): tf.Tensor {
  const { transposeA = false, transposeB = false, plus } = options;
  return runKernel('Product', { a, b, plus }, { transposeA, transposeB })[0];
}

/**
 * Rows of a table by token id.
 *
 * @param ids int32 of any shape, each in [0, V); checked.
 * @param table_VC float32 `[V, C]`.
 * @returns float32 `[...ids.shape, C]`.
 * @throws Error that names the first id outside the table.
 */
export function embedding(ids: tf.Tensor, table_VC: tf.Tensor): tf.Tensor {
  requireShape('embedding', 'table', table_VC, [null, null]);
  requireInt32('embedding', 'ids', ids);
  if (!hasKernel('Embedding')) return embeddingReference(ids, table_VC);
  const numRows = table_VC.shape[0];
  return customGradient([table_VC], ([table], save) => {
    save([ids]);
    return {
      value: runKernel('Embedding', { ids, table })[0],
      gradient: (dy, [ids]) => runKernel('EmbeddingGrad', { dy, ids }, { numRows }),
    };
  });
}

/** Options of {@link linearCrossEntropy}. */
export interface LinearCrossEntropyOptions {
  /** Skips the gradient of the head. */
  frozenWeight?: boolean;
}

/**
 * Language-model head and loss in one: the sum over tokens of −log softmax(x·weightᵀ)[target], in nats.
 *
 * Processes tokens in chunks, so that logits of tokens × vocabulary are never held, and computes both gradients in the
 * same pass (Hsu et al. 2024, Liger Kernel; Wijmans et al. 2024).
 *
 * @param x_NC float32 `[N, C]` final hidden states.
 * @param weight_VC float32 `[V, C]` head.
 * @param targets_N int32 `[N]`, each in [0, V).
 * @param mask_N float32 `[N]` weight of each token's loss; 1 by default.
 * @returns float32 scalar, a sum: divide it by the number of tokens.
 */
export function linearCrossEntropy(
  x_NC: tf.Tensor,
  weight_VC: tf.Tensor,
  targets_N: tf.Tensor,
  mask_N?: tf.Tensor,
  { frozenWeight = false }: LinearCrossEntropyOptions = {},
): tf.Scalar {
  requireLossInputs(x_NC, weight_VC, targets_N, mask_N);
  if (!hasKernel('LinearCrossEntropy')) {
    return linearCrossEntropyReference(x_NC, weight_VC, targets_N, mask_N);
  }
  const run = (x: tf.Tensor, weight: tf.Tensor, gradients: 'none' | 'x' | 'both') =>
    runKernel('LinearCrossEntropy', { x, weight, targets: targets_N, mask: mask_N }, { gradients, zLoss: 0 });
  if (!isRecording()) return tf.tidy(() => tf.sum(run(x_NC, weight_VC, 'none')[0]));
  const trained = frozenWeight ? [x_NC] : [x_NC, weight_VC];
  return customGradient(trained, ([x, weight = weight_VC], save) => {
    const [losses, ...gradients] = run(x, weight, frozenWeight ? 'x' : 'both');
    save(gradients);
    return {
      value: tf.sum(losses),
      gradient: (dy, saved) => saved.map((gradient) => tf.mul(gradient, dy)),
    };
  }) as tf.Scalar;
}

/** The result of {@link linearCrossEntropyWithZLoss}. */
export interface LossWithZLoss {
  /** The cross-entropy plus the z-loss, a float32 scalar on the tape. */
  sum: tf.Scalar;
  /** The z-loss in it, a float32 scalar without gradient. */
  zLoss: tf.Scalar;
}

/**
 * {@link linearCrossEntropy} plus the z-loss: `zLoss` times the sum over tokens of (log Σ exp of the logits)², which keeps logits
 * from drifting (Chowdhery et al. 2022, PaLM, arXiv 2204.02311, §5, with 1e-4). In the same pass, with the mask of the loss.
 *
 * @param options.zLoss the factor, above 0
 */
export function linearCrossEntropyWithZLoss(
  x_NC: tf.Tensor,
  weight_VC: tf.Tensor,
  targets_N: tf.Tensor,
  mask_N: tf.Tensor | undefined,
  { zLoss, frozenWeight = false }: LinearCrossEntropyOptions & { zLoss: number },
): LossWithZLoss {
  requireLossInputs(x_NC, weight_VC, targets_N, mask_N);
  if (!(zLoss > 0 && zLoss < Number.POSITIVE_INFINITY)) {
    throw new Error(`linearCrossEntropyWithZLoss: zLoss must be a finite number above 0, got ${zLoss}`);
  }
  if (!hasKernel('LinearCrossEntropy')) return zLossReference(x_NC, weight_VC, targets_N, mask_N, zLoss);
  return tf.tidy(() => {
    let own: tf.Tensor | undefined;
    const sums = (x: tf.Tensor, weight: tf.Tensor, gradients: 'none' | 'x' | 'both') => {
      const inputs = { x, weight, targets: targets_N, mask: mask_N };
      const [losses, squares, ...others] = runKernel('LinearCrossEntropy', inputs, { gradients, zLoss });
      // Beyond the scope of the op, which returns one tensor.
      own = tf.keep(tf.mul(tf.sum(squares), zLoss));
      return { sum: tf.add(tf.sum(losses), own), gradients: others };
    };
    const trained = frozenWeight ? [x_NC] : [x_NC, weight_VC];
    const sum = isRecording()
      ? customGradient(trained, ([x, weight = weight_VC], save) => {
          const { sum, gradients } = sums(x, weight, frozenWeight ? 'x' : 'both');
          save(gradients);
          return { value: sum, gradient: (dy, saved) => saved.map((gradient) => tf.mul(gradient, dy)) };
        })
      : sums(x_NC, weight_VC, 'none').sum;
    const tracked = own!.clone();
    own!.dispose();
    return { sum: sum as tf.Scalar, zLoss: tracked as tf.Scalar };
  });
}

/** The result of {@link scoreTokens} for each token. */
export interface TokenScores {
  /** float32 `[N]`, log softmax(x·weightᵀ)[target] in nats. */
  logProbabilities: tf.Tensor1D;
  /** int32 `[N]`, the most probable token, the lowest id among equals. */
  greedyIds: tf.Tensor1D;
}

/**
 * The log-probability of each target and the most probable token, without gradients. Like {@link linearCrossEntropy} it
 * never holds the logits of all tokens.
 *
 * @param x_NC float32 `[N, C]`.
 * @param weight_VC float32 `[V, C]`.
 * @param targets_N int32 `[N]`, each in [0, V).
 */
export function scoreTokens(x_NC: tf.Tensor, weight_VC: tf.Tensor, targets_N: tf.Tensor): TokenScores {
  requireHead('scoreTokens', x_NC, weight_VC, targets_N);
  if (!hasKernel('ScoreTokens')) return scoreTokensReference(x_NC, weight_VC, targets_N);
  const inputs = { x: x_NC, weight: weight_VC, targets: targets_N };
  const [losses, greedyIds] = runKernel('ScoreTokens', inputs);
  const logProbabilities = tf.neg(losses) as tf.Tensor1D;
  losses.dispose();
  return { logProbabilities, greedyIds: greedyIds as tf.Tensor1D };
}

function requireLossInputs(
  x_NC: tf.Tensor,
  weight_VC: tf.Tensor,
  targets_N: tf.Tensor,
  mask_N: tf.Tensor | undefined,
): void {
  requireHead('linearCrossEntropy', x_NC, weight_VC, targets_N);
  if (!mask_N) return;
  requireShape('linearCrossEntropy', 'mask', mask_N, targets_N.shape);
  if (mask_N.dtype !== 'float32') {
    throw new Error(`linearCrossEntropy: mask must be float32, got ${mask_N.dtype}; use mask.toFloat()`);
  }
}

function requireHead(op: string, x_NC: tf.Tensor, weight_VC: tf.Tensor, targets_N: tf.Tensor): void {
  requireShape(op, 'x', x_NC, [null, null]);
  requireShape(op, 'weight', weight_VC, [null, x_NC.shape[1]]);
  requireShape(op, 'targets', targets_N, [x_NC.shape[0]]);
  requireInt32(op, 'targets', targets_N);
}
