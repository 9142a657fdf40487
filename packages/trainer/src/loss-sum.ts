import * as tf from '@tensorflow/tfjs-core';
import { TrainerError } from './errors.ts';
import type { LossSum } from './types.ts';

/**
 * Checks what a loss returned. Its sum is typed `tf.Tensor`, since TensorFlow.js's own ops return tensors of unknown
 * rank.
 *
 * @throws TrainerError naming `what` where the sum is no scalar or the count no count
 */
export function requireLossSum(what: string, { sum, count }: LossSum): tf.Scalar {
  if (!(sum instanceof tf.Tensor)) {
    throw new TrainerError(
      `${what}: sum is not a tensor, got ${typeof sum}, expected { sum, count } returned at once, not a promise`,
    );
  }
  if (sum.rank !== 0 || sum.dtype !== 'float32') {
    throw new TrainerError(
      `${what}: sum is not a float32 scalar, got ${sum.dtype} [${sum.shape}]; add the tokens up with tf.sum`,
    );
  }
  // NaN comes from weights that are: the guard's business.
  if (typeof count !== 'number' || count < 0) {
    throw new TrainerError(`${what}: count is not a number of targets, got ${count}, expected 0 or more`);
  }
  return sum as tf.Scalar;
}
