import * as tf from '@tensorflow/tfjs-core';

/** Gradients that functions below returned and that nobody but the tape holds. */
const held = new WeakSet<tf.Tensor>();

/** Whether a gradient tape is recording what runs now. */
export function isRecording(): boolean {
  const { state } = tf.engine();
  return state.gradientDepth > 0 && state.kernelDepth === 0;
}

/**
 * `tf.customGrad` with its arguments told apart: the inputs, and the function that keeps tensors for the
 * backward pass.
 *
 * TensorFlow.js keeps all that a tape saved, and every gradient on the way, until the whole backward pass ends. Here
 * what a gradient function has consumed is freed at once, so that of the backward pass one op's tensors exist at a
 * time.
 */
export function customGradient(
  inputs: readonly tf.Tensor[],
  forward: (
    inputs: tf.Tensor[],
    save: (tensors: tf.Tensor[]) => void,
  ) => { value: tf.Tensor; gradient: (dy: tf.Tensor, saved: tf.Tensor[]) => tf.Tensor | tf.Tensor[] },
): tf.Tensor {
  if (!isRecording()) return tf.tidy(() => forward([...inputs], () => undefined).value);
  const op = tf.customGrad((...args) => {
    const save = args.pop() as tf.GradSaveFunc;
    const { value, gradient } = forward(args as tf.Tensor[], save);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const gradients = tf.tidy(() => [gradient(dy, saved)].flat());
      // Inside another gradient the tape is read once more.
      if (tf.engine().state.gradientDepth > 0) return gradients;
      const consumed = held.has(dy) ? [dy, ...saved] : saved;
      tf.dispose(consumed.filter((tensor) => !gradients.includes(tensor)));
      for (const tensor of gradients) held.add(tensor);
      return gradients;
    };
    return { value, gradFunc: gradFunc as (dy: tf.Tensor, saved: tf.Tensor[]) => tf.Tensor[] };
  });
  return op(...inputs);
}
