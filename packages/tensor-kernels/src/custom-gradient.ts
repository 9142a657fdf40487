import * as tf from '@tensorflow/tfjs-core';

/**
 * Runs `compute` in the forward pass and returns the same tensors in the backward pass without running it: for results
 * that cost more to recompute than to hold. No gradient flows through it; use it within ops that define their gradient,
 * such as `attention`.
 */
export type Keep = (compute: () => tf.Tensor[]) => tf.Tensor[];

/** Gradients that this module returned and that only the tape holds. */
const held = new WeakSet<tf.Tensor>();

/** Returns whether a gradient tape is recording. */
export function isRecording(): boolean {
  const { state } = tf.engine();
  return state.gradientDepth > 0 && state.kernelDepth === 0;
}

/**
 * `tf.customGrad` with separate arguments: the inputs, and the function that saves tensors for the backward pass.
 *
 * TensorFlow.js holds all saved tensors and every intermediate gradient until the backward pass ends. Here they are freed
 * as soon as a gradient function has used them.
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
      // Inside another gradient the tape is read again.
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
