import * as tf from '@tensorflow/tfjs';
import { customGradient } from './custom-gradient.ts';

/**
 * Runs `f` without keeping its intermediate tensors and runs it again in the backward pass
 * (activation recomputation, Chen et al. 2016): memory of one block instead of all, for one more forward.
 *
 * @param f a function of exactly `inputs`; gradients flow to those alone, so weights must be among them.
 * @param inputs float32 tensors or variables.
 * @returns the value of `f`, with the same gradients as a direct call.
 */
export function recompute<T extends tf.Tensor>(f: (...inputs: tf.Tensor[]) => T, inputs: tf.Tensor[]): T {
  return customGradient(inputs, (tensors, save) => {
    save(tensors);
    return {
      value: f(...tensors),
      gradient: (dy, saved) => {
        // The engine forgets its outer tape when an inner gradient ends at depth zero.
        const { state } = tf.engine();
        const outerTape = state.activeTape;
        try {
          return tf.grads(f)(saved, dy);
        } finally {
          state.activeTape = outerTape;
        }
      },
    };
  }) as T;
}
