/** Muon: the update of a matrix is its momentum, orthogonalised (Jordan et al. 2024, kellerjordan.github.io/posts/muon). */
import * as tf from '@tensorflow/tfjs-core';
import { hasKernel, requireShape, runKernel } from './ops.ts';
import { requireFloat32Parameter } from './optimizer.ts';

/** The Muon update of one matrix; all tensors have its shape `[M, N]`. */
export interface MuonOptions extends Record<'parameter' | 'momentumBuffer', tf.Variable> {
  gradient: tf.Tensor;
  learningRate: number;
  /** Share of the momentum buffer that a step keeps, 0.95 in the publications. */
  momentum: number;
  /** Decoupled: the parameter shrinks by learningRate · weightDecay in each step. */
  weightDecay: number;
  /** Factor on the gradient; a tensor `[1]` from `gradientScale`, where 0 skips the update. */
  gradientScale: number | tf.Tensor;
}

/** Coefficients of the quintic Newton–Schulz iteration, and the number of its steps. */
export const NEWTON_SCHULZ = { a: 3.4445, b: -4.775, c: 2.0315, steps: 5, epsilon: 1e-7 };

/**
 * Muon with Nesterov momentum, in place: the buffer becomes B ← μ·B + (1 − μ)·G, the update is the orthogonalised
 * μ·B + (1 − μ)·G, by five Newton–Schulz iterations, and the parameter becomes (1 − η·λ)·W − η·0.2·√max(M, N)·O.
 *
 * The factor gives an update the root mean square of AdamW's, so that both take the same learning rate and weight decay (Liu et
 * al. 2025, arXiv 2502.16982, §2.2). Equal to `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`, except that PyTorch
 * always multiplies in bfloat16; here the products have the precision of the backend.
 *
 * @throws Error for a parameter that is not a float32 matrix
 */
export function muon(options: MuonOptions): void {
  const { parameter, gradient, momentumBuffer, learningRate, momentum, weightDecay, gradientScale } = options;
  requireShape('muon', 'parameter', parameter, [null, null]);
  requireFloat32Parameter('muon', parameter);
  const numbers = {
    momentum,
    decay: 1 - learningRate * weightDecay,
    stepSize: learningRate * 0.2 * Math.sqrt(Math.max(...parameter.shape)),
  };
  const scale = typeof gradientScale === 'number' ? undefined : gradientScale;
  if (hasKernel('Muon')) {
    const given = typeof gradientScale === 'number' ? gradientScale : 0;
    runKernel('Muon', { parameter, gradient, momentumBuffer, scale }, { ...numbers, gradientScale: given });
    return;
  }
  tf.tidy(() => {
    const g = tf.mul(gradient, scale ? scale.reshape([]) : (gradientScale as number));
    const average = tf.add(tf.mul(momentumBuffer, momentum), tf.mul(g, 1 - momentum));
    const update = orthogonalized(tf.add(tf.mul(average, momentum), tf.mul(g, 1 - momentum)));
    const next = tf.sub(tf.mul(parameter, numbers.decay), tf.mul(update, numbers.stepSize));
    const kept = (value: tf.Tensor, before: tf.Tensor) =>
      scale ? tf.where(tf.equal(scale.reshape([1, 1]), 0), before, value) : value;
    const [nextBuffer, nextParameter] = [kept(average, momentumBuffer), kept(next, parameter)];
    momentumBuffer.assign(nextBuffer as tf.Variable);
    parameter.assign(nextParameter as tf.Variable);
  });
}

/** The matrix with the singular vectors of `x` and singular values near 1. */
function orthogonalized(x: tf.Tensor): tf.Tensor {
  const { a, b, c, steps, epsilon } = NEWTON_SCHULZ;
  const [M, N] = x.shape as [number, number];
  const isTall = M > N;
  // The Frobenius norm bounds the largest singular value.
  let result = tf.div(x, tf.maximum(tf.sqrt(tf.sum(tf.square(x))), epsilon));
  const identity = tf.mul(tf.eye(Math.min(M, N)), a);
  for (let step = 0; step < steps; step++) {
    const gram = tf.matMul(result, result, isTall, !isTall);
    const factor = tf.add(identity, tf.add(tf.mul(gram, b), tf.mul(tf.matMul(gram, gram), c)));
    result = isTall ? tf.matMul(result, factor) : tf.matMul(factor, result);
  }
  return result;
}
