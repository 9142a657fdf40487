import * as tf from '@tensorflow/tfjs';
import { customGradient } from './custom-gradient.ts';

/**
 * Runs `f` without keeping its intermediate tensors and runs it again in the backward pass
 * (activation recomputation, Chen et al. 2016): memory of one block instead of all, for one more forward.
 *
 * @param f a function of its arguments alone. A tensor it takes from elsewhere would be freed with the forward
 *   pass and missing in the backward pass; pass it as a constant.
 * @param inputs float32 tensors or variables that gradients flow to: hidden states and weights.
 * @param constants tensors without gradient, such as positions, rotary tables or segment ids.
 * @returns the value of `f`, with the same gradients as a direct call.
 */
export function recompute<T extends tf.Tensor>(
  f: (inputs: tf.Tensor[], constants: tf.Tensor[]) => T,
  inputs: tf.Tensor[],
  constants: tf.Tensor[] = [],
): T {
  return customGradient(inputs, (tensors, save) => {
    save([...tensors, ...constants]);
    return {
      value: f(tensors, constants),
      gradient: (dy, saved) => {
        const heldConstants = saved.slice(inputs.length);
        // The engine forgets its outer tape when an inner gradient ends at depth zero.
        const { state } = tf.engine();
        const outerTape = state.activeTape;
        try {
          return tf.grads((...x) => f(x, heldConstants))(saved.slice(0, inputs.length), dy);
        } finally {
          state.activeTape = outerTape;
        }
      },
    };
  }) as T;
}
