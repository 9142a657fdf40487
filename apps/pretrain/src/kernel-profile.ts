import { performance } from 'node:perf_hooks';
import * as tf from '@tensorflow/tfjs';

/** Time spent in one TensorFlow.js kernel. */
export interface KernelTime {
  kernel: string;
  calls: number;
  milliseconds: number;
}

/** Times every kernel of the current backend from here on; for backends that compute before they return. */
export class KernelProfile {
  readonly #times = new Map<string, KernelTime>();

  constructor() {
    const backendName = tf.getBackend();
    for (const config of tf.getKernelsForBackend(backendName)) {
      tf.unregisterKernel(config.kernelName, backendName);
      tf.registerKernel({ ...config, kernelFunc: this.#timed(config) });
    }
  }

  #timed({ kernelName, kernelFunc }: tf.KernelConfig): tf.KernelFunc {
    return (call) => {
      const started = performance.now();
      const result = kernelFunc(call);
      const entry = this.#times.get(kernelName) ?? { kernel: kernelName, calls: 0, milliseconds: 0 };
      entry.calls++;
      entry.milliseconds += performance.now() - started;
      this.#times.set(kernelName, entry);
      return result;
    };
  }

  /** Times since the last call, the longest first. */
  take(): KernelTime[] {
    const times = [...this.#times.values()].sort((a, b) => b.milliseconds - a.milliseconds);
    this.#times.clear();
    return times;
  }
}
