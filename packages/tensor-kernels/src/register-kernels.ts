import * as tf from '@tensorflow/tfjs-core';

type Kernels<Call, Result> = Readonly<Record<string, (call: Call) => Result>>;

/**
 * Adds kernels to a backend over those already there; an override that returns nothing leaves the call to the kernel
 * that it replaced.
 */
export function registerKernels<Call>(
  backendName: string,
  kernels: Kernels<Call, tf.TensorInfo | tf.TensorInfo[]>,
  overrides: Kernels<Call, tf.TensorInfo | undefined>,
): void {
  for (const [kernelName, kernelFunc] of Object.entries(kernels)) {
    tf.registerKernel({ kernelName, backendName, kernelFunc: kernelFunc as unknown as tf.KernelFunc });
  }
  for (const [kernelName, override] of Object.entries(overrides)) {
    const fallback = tf.getKernel(kernelName, backendName).kernelFunc;
    const kernelFunc: tf.KernelFunc = (call) => override(call as unknown as Call) ?? fallback(call);
    tf.unregisterKernel(kernelName, backendName);
    tf.registerKernel({ kernelName, backendName, kernelFunc });
  }
}
