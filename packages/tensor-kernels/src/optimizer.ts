import * as tf from '@tensorflow/tfjs-core';
import { isStoredAsBfloat16 } from './bfloat16-storage.ts';
import { hasKernel, runKernel } from './ops.ts';

/** One parameter's AdamW update; tensors of one shape. */
export interface AdamWOptions {
  parameter: tf.Variable;
  gradient: tf.Tensor;
  firstMoment: tf.Variable;
  secondMoment: tf.Variable;
  learningRate: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  /** Decoupled: the parameter shrinks by learningRate · weightDecay a step. */
  weightDecay: number;
  /** From 1; sets the bias correction. */
  step: number;
  /**
   * Factor on the gradient before use: clipping and token averaging in one sweep. A tensor `[1]` from
   * {@link gradientScale} is one that the device decided on; 0 in it leaves everything as it is.
   */
  gradientScale: number | tf.Tensor;
}

/**
 * AdamW (Loshchilov & Hutter 2019, Algorithm 2, with PyTorch's constant schedule multiplier): updates the
 * parameter and both moments in place, in one sweep.
 *
 * On `native` the buffers themselves change: tensors that share a parameter's data change with it.
 */
export function adamW(options: AdamWOptions): void {
  const { parameter, gradient, firstMoment, secondMoment, ...hyperparameters } = options;
  const { learningRate, beta1, beta2, epsilon, weightDecay, step, gradientScale } = hyperparameters;
  if (typeof gradientScale !== 'number') {
    const tensors = { parameter, gradient, firstMoment, secondMoment, scale: gradientScale };
    runKernel('AdamW', tensors, { ...hyperparameters, gradientScale: 0 });
    return;
  }
  if (isStoredAsBfloat16(parameter)) {
    throw new Error(
      'adamW: the parameter is stored as bfloat16, which would round small updates away; train float32 weights',
    );
  }
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

/** What {@link gradientScale} needs to know. */
export interface GradientScaleOptions {
  /** A step's losses, then sums of squares of its gradients. */
  values: tf.Tensor;
  numLosses: number;
  /** Targets that losses and gradients are sums over. */
  numTargets: number;
  /** Largest norm of the mean gradient. */
  clipNorm: number;
  /** What this returned for the step before, if that has not been read. */
  previous?: tf.Tensor;
}

/** Whether the device decides on a step by itself: whether there is {@link gradientScale}. */
export function canScaleOnDevice(): boolean {
  return hasKernel('GradientScale');
}

/**
 * The factor of an update, decided on the device so that nobody waits for its numbers: division by the targets and
 * clipping, or 0 where a loss or a gradient is not finite, and from then on.
 *
 * @returns `[1]`, for {@link adamW} on the same backend, one for which {@link canScaleOnDevice} is true.
 */
export function gradientScale(options: GradientScaleOptions): tf.Tensor {
  const { values, previous, ...attributes } = options;
  return runKernel('GradientScale', { values, previous }, attributes)[0];
}

/**
 * Sums of squares of tensors, one row each; the squared norm over all is the sum of all numbers.
 *
 * Stays on the device, so that a caller can read it together with what else it reads.
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
 * The Euclidean norm over all elements of all tensors: what gradient clipping compares (Pascanu et al. 2013).
 *
 * Summed over fixed chunks (in float64 on `native`), so the value does not depend on the number of threads. Waits for
 * the device, once for all tensors.
 */
export async function globalNorm(tensors: readonly tf.Tensor[]): Promise<number> {
  if (tensors.length === 0) return 0;
  const sums = sumsOfSquares(tensors);
  const values = (await sums.data()) as Float32Array;
  sums.dispose();
  return Math.sqrt(values.reduce((total, value) => total + value, 0));
}
