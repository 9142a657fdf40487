import * as tf from '@tensorflow/tfjs';

/**
 * `tf.customGrad` with its arguments told apart: the inputs, and the function that keeps tensors for the
 * backward pass.
 */
export function customGradient(
  inputs: tf.Tensor[],
  forward: (
    inputs: tf.Tensor[],
    save: (tensors: tf.Tensor[]) => void,
  ) => { value: tf.Tensor; gradient: (dy: tf.Tensor, saved: tf.Tensor[]) => tf.Tensor | tf.Tensor[] },
): tf.Tensor {
  const op = tf.customGrad((...args) => {
    const save = args.pop() as tf.GradSaveFunc;
    const { value, gradient } = forward(args as tf.Tensor[], save);
    return { value, gradFunc: (dy, saved) => gradient(dy as tf.Tensor, saved) };
  });
  return op(...inputs);
}
