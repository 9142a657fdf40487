import { performance } from 'node:perf_hooks';
import { BackendError } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';

/** Total time of one TensorFlow.js kernel. */
export interface KernelTime {
  kernel: string;
  calls: number;
  milliseconds: number;
}

/** Times kernels from its creation on. */
export interface Profile {
  /** Returns the times since the last call, the longest first. */
  take(): Promise<KernelTime[]>;
}

/** Profiles the current backend: with GPU timestamps on webgpu, else around each synchronous kernel call. */
export function profileKernels(): Profile {
  return tf.getBackend() === 'webgpu' ? new GpuProfile() : new KernelProfile();
}

interface TimedBackend extends tf.KernelBackend {
  activeTimers?: { name: string; query: Promise<number> }[];
  supportTimestampQuery: boolean;
}

/** Brackets each kernel with timestamps, which prevents kernels from overlapping. */
class GpuProfile implements Profile {
  readonly #backend = tf.backend() as TimedBackend;

  constructor() {
    if (!this.#backend.supportTimestampQuery) {
      throw new BackendError(
        'profile: got a GPU without timestamp-query, expected one with it; run without --profile',
      );
    }
    this.#backend.activeTimers = [];
  }

  async take(): Promise<KernelTime[]> {
    const timers = this.#backend.activeTimers ?? [];
    this.#backend.activeTimers = [];
    const times = new Times();
    for (const { name, query } of timers) times.add(name, await query);
    return times.take();
  }
}

class KernelProfile implements Profile {
  readonly #times = new Times();

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
      this.#times.add(kernelName, performance.now() - started);
      return result;
    };
  }

  async take(): Promise<KernelTime[]> {
    return this.#times.take();
  }
}

class Times {
  readonly #times = new Map<string, KernelTime>();

  add(kernel: string, milliseconds: number): void {
    const entry = this.#times.get(kernel) ?? { kernel, calls: 0, milliseconds: 0 };
    entry.calls++;
    entry.milliseconds += milliseconds;
    this.#times.set(kernel, entry);
  }

  take(): KernelTime[] {
    const times = [...this.#times.values()].sort((a, b) => b.milliseconds - a.milliseconds);
    this.#times.clear();
    return times;
  }
}
