import * as tf from '@tensorflow/tfjs-core';
import { isStoredAsBfloat16 } from './bfloat16-storage.ts';
import { hasKernel, runKernel } from './ops.ts';
import { quantizedFormat } from './quantized-storage.ts';

/** The AdamW update of one parameter; all tensors have its shape. */
export interface AdamWOptions extends Record<'parameter' | 'firstMoment' | 'secondMoment', tf.Variable> {
  gradient: tf.Tensor;
  learningRate: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  /** Decoupled: the parameter shrinks by learningRate · weightDecay in each step. */
  weightDecay: number;
  /** From 1, for the bias correction. */
  step: number;
  /** Factor on the gradient, for clipping and averaging; a tensor `[1]` from {@link gradientScale}, where 0 skips the update. */
  gradientScale: number | tf.Tensor;
}

/**
 * AdamW (Loshchilov & Hutter 2019, Algorithm 2, with PyTorch's constant schedule multiplier): updates the parameter and
 * both moments in place, in one pass. On `native` tensors that share the data of a parameter change too.
 */
export function adamW(options: AdamWOptions): void {
  const { parameter, gradient, firstMoment, secondMoment, ...hyperparameters } = options;
  const { learningRate, beta1, beta2, epsilon, weightDecay, step, gradientScale } = hyperparameters;
  if (typeof gradientScale !== 'number') {
    const tensors = { parameter, gradient, firstMoment, secondMoment, scale: gradientScale };
    runKernel('AdamW', tensors, { ...hyperparameters, gradientScale: 0 });
    return;
  }
  requireFloat32Parameter('adamW', parameter);
  if (hasKernel('AdamW')) {
    const tensors = { parameter, gradient, firstMoment, secondMoment };
    runKernel('AdamW', tensors, { ...hyperparameters, gradientScale });
    return;
  }
  tf.tidy(() => {
    const g = tf.mul(gradient, gradientScale);
    const m = tf.add(tf.mul(firstMoment, beta1), tf.mul(g, 1 - beta1));
    const v = tf.add(tf.mul(secondMoment, beta2), tf.mul(tf.square(g), 1 - beta2));
    const mHat = tf.div(m, 1 - beta1 ** step);
    const vHat = tf.div(v, 1 - beta2 ** step);
    const decayed = tf.mul(parameter, 1 - learningRate * weightDecay);
    firstMoment.assign(m);
    secondMoment.assign(v);
    parameter.assign(
      tf.sub(decayed, tf.mul(tf.div(mHat, tf.add(tf.sqrt(vHat), epsilon)), learningRate)) as tf.Variable,
    );
  });
}

/** Refuses a parameter that is stored in fewer bits. */
export function requireFloat32Parameter(op: string, parameter: tf.Variable): void {
  const format = isStoredAsBfloat16(parameter) ? 'bfloat16' : quantizedFormat(parameter);
  if (!format) return;
  throw new Error(
    `${op}: the parameter is stored as ${format}, which would round small updates away; train float32 weights`,
  );
}

/** Options of {@link gradientScale}. */
export interface GradientScaleOptions {
  /** The losses of a step, then the sums of squares of its gradients. */
  values: tf.Tensor;
  numLosses: number;
  /** Number of targets over which losses and gradients are summed. */
  numTargets: number;
  /** Largest norm of the mean gradient. */
  clipNorm: number;
  /** The result for the previous step, if it has not been read. */
  previous?: tf.Tensor;
}

/** Returns whether the backend has {@link gradientScale}: clipping and the check for non-finite numbers on the device. */
export function canScaleOnDevice(): boolean {
  return hasKernel('GradientScale');
}

/**
 * Computes the factor of an update on the device, so that the host need not wait: division by the number of targets and
 * clipping, or 0 where a loss or a gradient is not finite, and in all later steps.
 *
 * @returns `[1]`, for {@link adamW}; only on a backend for which {@link canScaleOnDevice} is true
 */
export function gradientScale(options: GradientScaleOptions): tf.Tensor {
  const { values, previous, ...attributes } = options;
  return runKernel('GradientScale', { values, previous }, attributes)[0];
}

/**
 * Computes the sum of squares of each tensor, in a row of its own, on the device; the sum of all is the squared norm.
 *
 * @returns float32 `[tensors, parts]`; on `native` a row is a float64 as the sum of two float32.
 */
export function sumsOfSquares(tensors: readonly tf.Tensor[]): tf.Tensor2D {
  if (hasKernel('SumsOfSquares')) {
    const inputs = Object.fromEntries(tensors.map((tensor, i) => [`x${i}`, tensor]));
    return runKernel('SumsOfSquares', inputs)[0] as tf.Tensor2D;
  }
  return tf.tidy(() => tf.stack(tensors.map((tensor) => tf.sum(tf.square(tensor)))).expandDims(1));
}

/**
 * Computes the Euclidean norm over all elements of all tensors, for gradient clipping (Pascanu et al. 2013). Sums fixed
 * chunks (in float64 on `native`), so that the value does not depend on the number of threads. Waits for the device once.
 */
export async function globalNorm(tensors: readonly tf.Tensor[]): Promise<number> {
  if (tensors.length === 0) return 0;
  const sums = sumsOfSquares(tensors);
  const values = (await sums.data()) as Float32Array;
  sums.dispose();
  return Math.sqrt(values.reduce((total, value) => total + value, 0));
}
