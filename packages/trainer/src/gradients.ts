import { markStep, shardLike, sumsOfSquares } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
import { backward } from './backward.ts';
import { TrainerError } from './errors.ts';
import { requireLossSum } from './loss-sum.ts';
import type { BatchSource, Loss, Parameters } from './types.ts';

/** Gradients and counts of one optimizer step, summed over its micro-batches. */
export interface StepSums {
  /** Gradient of `loss` by parameter name, a sum over targets; the caller disposes of them. */
  gradients: Map<string, tf.Tensor>;
  /** Sum of the squares of all gradients. */
  squaredNorm: number;
  /** Sum of the negative log-likelihoods, without z-loss. */
  loss: number;
  /** Sum of the z-loss, if the loss has one. */
  zLoss?: number;
  /** Targets counted. */
  count: number;
  /** Tokens processed. */
  tokens: number;
  /** Loss scale contained in `gradients`, but not in `squaredNorm` and `loss`. */
  lossScale: number;
  /** With `leaveUnread`: losses of the micro-batches, their z-losses, then sums of squares; the caller disposes of it. */
  unread?: { values: tf.Tensor1D; numLosses: number; numZLosses: number };
}

/** Options of {@link accumulateGradients}. */
export interface AccumulateOptions<Batch> {
  parameters: Parameters;
  loss: Loss<Batch>;
  batches: BatchSource<Batch>;
  /** The 0-based optimizer step. */
  step: number;
  microBatches: number;
  /** Factor on the loss while gradients are computed, 1 by default. */
  lossScale?: number;
  /** Returns loss and norm as `unread` device tensors instead of waiting for them. */
  leaveUnread?: boolean;
  signal?: AbortSignal;
}

/**
 * Runs the micro-batches of one step and adds the gradients of their loss sums, to be divided once by the total count.
 *
 * Sums, unlike means, make micro-batches with different counts equal to one large batch. Returns undefined if `signal` is
 * aborted between two micro-batches.
 */
export async function accumulateGradients<Batch>(
  options: AccumulateOptions<Batch>,
): Promise<StepSums | undefined> {
  const { parameters, loss, batches, step, microBatches, lossScale = 1, signal } = options;
  const sums: StepSums = { gradients: new Map(), squaredNorm: 0, loss: 0, count: 0, tokens: 0, lossScale };
  const losses: tf.Scalar[] = [];
  const zLosses: tf.Scalar[] = [];
  try {
    for (let microBatch = 0; microBatch < microBatches; microBatch++) {
      // A macrotask, so that signal handlers and progress bars run between two batches.
      await new Promise(setImmediate);
      if (signal?.aborted) return undefined;
      // Micro-batches are one program each, rather than all of them one.
      if (microBatch > 0) markStep();
      const position = { step, microBatch };
      const batch = await batches(position);
      const computeLoss = () => {
        const result = loss(batch, position);
        const sum = requireLossSum('loss', result);
        const { count, tokens = count, zLoss } = result;
        if (zLoss) zLosses.push(tf.keep(zLoss as tf.Scalar));
        sums.count += count;
        sums.tokens += tokens;
        return lossScale === 1 ? sum : sum.mul<tf.Scalar>(lossScale);
      };
      // Adds gradients one at a time, so that a micro-batch's are never all in memory beside the sums.
      losses.push(
        await backward(computeLoss, parameters, (name, gradient) => {
          addTo(sums.gradients, name, gradient);
          shardLike(sums.gradients.get(name)!, parameters.get(name)!);
        }),
      );
    }
    if (sums.count === 0) {
      throw noTargets(step);
    }
    // In the order of the parameters, so that the norm is always summed in the same order.
    const reached = [...parameters.keys()].filter((name) => sums.gradients.has(name));
    const gradients = new Map(reached.map((name) => [name, sums.gradients.get(name)!]));
    const gathered = gatherSums([...gradients.values()], losses, zLosses);
    const { all: values, numLosses, numZLosses } = gathered;
    if (options.leaveUnread) sums.unread = { values, numLosses, numZLosses };
    else Object.assign(sums, await readSums(gathered, lossScale));
    sums.gradients = new Map();
    return { ...sums, gradients };
  } finally {
    tf.dispose([losses, zLosses]);
    tf.dispose([...sums.gradients.values()]);
  }
}

/** Returns the error for a step without targets. */
export function noTargets(step: number): TrainerError {
  return new TrainerError(
    `loss: no target counted in step ${step + 1}, expected at least one: check masks and labels of the data`,
  );
}

interface GatheredSums {
  all: tf.Tensor1D;
  numLosses: number;
  numZLosses: number;
  /** Partial sums per sum of squares. */
  width: number;
}

/** Gathers losses, z-losses and sums of squares in one tensor: on a GPU every read waits for the queue. */
export function gatherSums(
  gradients: tf.Tensor[],
  losses: tf.Scalar[],
  zLosses: tf.Scalar[] = [],
): GatheredSums {
  return tf.tidy(() => {
    // A rank may own no gradients.
    const squares = gradients.length > 0 ? sumsOfSquares(gradients) : tf.zeros([0, 1]);
    const parts = [...[...losses, ...zLosses].map((loss) => loss.as1D()), squares.as1D()];
    const counts = { numLosses: losses.length, numZLosses: zLosses.length };
    return { all: tf.concat1d(parts), ...counts, width: squares.shape[1]! };
  });
}

/** Reads the sums and divides by the loss scale, which z-losses do not contain. */
export async function readSums(
  { all, numLosses, numZLosses, width }: GatheredSums,
  lossScale: number,
): Promise<Pick<StepSums, 'loss' | 'zLoss' | 'squaredNorm'>> {
  const values = (await all.data()) as Float32Array;
  all.dispose();
  const first = numLosses + numZLosses;
  const sums = { ...splitLoss(values, numLosses, first, lossScale), squaredNorm: 0 };
  for (let i = first; i < values.length; i += width) {
    sums.squaredNorm +=
      values.subarray(i, i + width).reduce((total, value) => total + value, 0) / lossScale ** 2;
  }
  return sums;
}

/** Returns the cross-entropy and the z-loss of a step whose losses have both. @param end of the z-losses */
export function splitLoss(
  values: ArrayLike<number>,
  numLosses: number,
  end: number,
  lossScale = 1,
): Pick<StepSums, 'loss' | 'zLoss'> {
  let [loss, zLoss] = [0, 0];
  for (let i = 0; i < numLosses; i++) loss += values[i] / lossScale;
  if (end === numLosses) return { loss };
  for (let i = numLosses; i < end; i++) zLoss += values[i];
  return { loss: loss - zLoss, zLoss };
}

/** Adds a gradient to the one of the same name; takes ownership. */
export function addTo(gradients: Map<string, tf.Tensor>, name: string, gradient: tf.Tensor): void {
  const previous = gradients.get(name);
  gradients.set(name, previous ? tf.add(previous, gradient) : gradient);
  if (previous) tf.dispose([previous, gradient]);
}

/** Returns the norm of the mean gradient, and the factor that divides by count and loss scale and clips, as torch's clip_grad_norm_. */
export function clipping(
  { squaredNorm, count, lossScale = 1 }: Pick<StepSums, 'squaredNorm' | 'count'> & { lossScale?: number },
  maxNorm: number,
): { gradNorm: number; gradientScale: number } {
  const gradNorm = Math.sqrt(squaredNorm) / count;
  const clip = Math.min(1, maxNorm / (gradNorm + 1e-6));
  return { gradNorm, gradientScale: clip / count / lossScale };
}
