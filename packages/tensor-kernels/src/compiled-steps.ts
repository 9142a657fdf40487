import * as tf from '@tensorflow/tfjs-core';

/**
 * Ends a step of a program. On `xla`, which records ops until a tensor is read, it starts the computation of all living
 * tensors as one program: call it where each step has the same tensors, after those that it does not need are disposed. On
 * other backends it does nothing.
 */
export function markStep(): void {
  (tf.backend() as tf.KernelBackend & { flush?(): void }).flush?.();
}

/** Whether the backend compiles a program for each shape, so that few shapes are better than fitting ones. */
export function compilesShapes(): boolean {
  return tf.getBackend() === 'xla';
}
