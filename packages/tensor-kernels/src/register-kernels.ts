import * as tf from '@tensorflow/tfjs-core';
import type { Kernels } from './kernel-signatures.ts';

/** Registers kernels; an override that returns undefined leaves the call to the kernel that it replaced. */
export function registerKernels<Backend>(
  backendName: string,
  kernels: Kernels<Backend>,
  overrides: Kernels<Backend, tf.TensorInfo | undefined>,
): void {
  for (const [kernelName, kernelFunc] of Object.entries(kernels)) {
    tf.registerKernel({ kernelName, backendName, kernelFunc: kernelFunc as unknown as tf.KernelFunc });
  }
  for (const [kernelName, override] of Object.entries(overrides)) {
    const fallback = tf.getKernel(kernelName, backendName).kernelFunc;
    const first = override as unknown as (...call: Parameters<tf.KernelFunc>) => tf.TensorInfo | undefined;
    tf.unregisterKernel(kernelName, backendName);
    tf.registerKernel({ kernelName, backendName, kernelFunc: (call) => first(call) ?? fallback(call) });
  }
}
