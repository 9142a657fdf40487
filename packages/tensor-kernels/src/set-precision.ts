import * as tf from '@tensorflow/tfjs-core';
import { BackendError } from './errors.ts';
import { nativeBackend } from './native-interface.ts';
import type { Precision } from './precision.ts';
import { webgpuBackend } from './webgpu/backend.ts';
import { measureGpuPeak } from './webgpu/peak.ts';
import type { XlaBackend } from './xla/backend.ts';

/**
 * Sets the precision of matrix products on the current backend: `float32`, or inputs rounded to `bfloat16` or `float16`
 * (to nearest even) with float32 sums. Tensors, weights and all other ops stay float32, so weights are float32 master
 * weights.
 *
 * `float16` is for GPUs: numbers above 65504 become infinite and below 6e-8 zero, so training needs loss scaling.
 *
 * @throws BackendError for a precision that the backend or the GPU does not support
 */
export function setPrecision(precision: Precision): void {
  const xla = tf.getBackend() === 'xla' ? (tf.backend() as XlaBackend) : undefined;
  const backend = nativeBackend() ?? webgpuBackend() ?? xla;
  if (precision === 'float16') requireFloat16();
  if (backend) backend.precision = precision;
  else if (precision !== 'float32') {
    throw new BackendError(
      `precision: ${precision} needs the native, webgpu or xla backend, got '${tf.getBackend()}'; use float32 here`,
    );
  }
}

/**
 * Measures the dense multiply-add rate of all threads, or of a GPU without its matrix units, in GFLOP/s: the reference
 * for utilisation. Takes about a tenth of a second; undefined on other backends than `native` and `webgpu`.
 */
export async function measurePeak(precision: Precision = 'float32'): Promise<number | undefined> {
  const gpu = webgpuBackend();
  if (gpu) return measureGpuPeak(gpu);
  return nativeBackend()?.addon.measurePeak(precision === 'bfloat16');
}

function requireFloat16(): void {
  const gpu = webgpuBackend()?.gpu;
  if (gpu?.hasFloat16) return;
  const got = gpu ? `the GPU '${gpu.description}', which lacks it` : `the backend '${tf.getBackend()}'`;
  throw new BackendError(
    `precision: float16 needs the webgpu backend on a GPU with shader-f16, got ${got}; use bfloat16 or float32`,
  );
}
