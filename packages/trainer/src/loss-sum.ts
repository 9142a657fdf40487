import * as tf from '@tensorflow/tfjs-core';
import { TrainerError } from './errors.ts';
import type { LossSum } from './types.ts';

/**
 * Validates the result of a loss. Its sum is typed `tf.Tensor`, because the ops of TensorFlow.js return tensors of unknown
 * rank.
 *
 * @throws TrainerError naming `what` if the sum is not a scalar or the count is not a count
 */
export function requireLossSum(what: string, { sum, count }: LossSum): tf.Scalar {
  if (!(sum instanceof tf.Tensor)) {
    throw new TrainerError(
      `${what}: sum is not a tensor, got ${typeof sum}, expected { sum, count }, not a promise`,
    );
  }
  if (sum.rank !== 0 || sum.dtype !== 'float32') {
    throw new TrainerError(
      `${what}: sum is not a float32 scalar, got ${sum.dtype} [${sum.shape}]; sum over the tokens with tf.sum`,
    );
  }
  // NaN is accepted: the guard handles it.
  if (typeof count !== 'number' || count < 0) {
    throw new TrainerError(`${what}: count is not a number of targets, got ${count}, expected 0 or more`);
  }
  return sum as tf.Scalar;
}
