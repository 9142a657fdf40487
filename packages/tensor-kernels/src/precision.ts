import * as tf from '@tensorflow/tfjs-core';
import { BackendError } from './backend.ts';
import { type NativeBackend, nativeBackend, type Precision } from './native-backend.ts';
import { runKernel } from './ops.ts';
import { webgpuBackend } from './webgpu/backend.ts';
import { measureGpuPeak } from './webgpu/peak.ts';

/**
 * Sets how matrix products compute on the current backend: `float32`, or `bfloat16` or `float16` inputs (rounded to
 * nearest even) with float32 sums. Tensors, weights and every other op stay float32, so these are float32 master weights.
 *
 * `float16` is for GPUs: past 65504 a number becomes infinite and below 6e-8 zero, so training needs its loss scaled.
 *
 * @throws BackendError for a precision that the backend, or the GPU, has no products of.
 */
export function setPrecision(precision: Precision): void {
  const backend = nativeBackend() ?? webgpuBackend();
  if (precision === 'float16') requireFloat16();
  if (backend) backend.precision = precision;
  else if (precision !== 'float32') {
    throw new BackendError(
      `precision: ${precision} needs the native or the webgpu backend, got '${tf.getBackend()}'; use float32 here`,
    );
  }
}

/**
 * The dense multiply-add rate of all threads (of a GPU without its matrix units) in GFLOP/s: the limit that
 * utilisation is measured against.
 * Takes about a tenth of a second; undefined on backends where it cannot be measured.
 */
export async function measurePeak(precision: Precision = 'float32'): Promise<number | undefined> {
  const gpu = webgpuBackend();
  if (gpu) return measureGpuPeak(gpu);
  return nativeBackend()?.addon.measurePeak(precision === 'bfloat16');
}

/**
 * Rounds a weight's values to bfloat16 (to nearest even) and from here on holds them in half the memory.
 *
 * To every op it stays a float32 tensor. `linear`, matrix products with it on the right, `embedding`,
 * `linearCrossEntropy` and `scoreTokens` read the halves as they are; other ops make a float32 copy each time. For
 * weights that nothing trains: assigning to it makes it float32 again.
 *
 * @throws BackendError on another backend than `native`.
 */
export function storeAsBfloat16(weight: tf.Variable): void {
  requireNative('storeAsBfloat16');
  const [halves] = runKernel('StoreBfloat16', { x: weight });
  weight.assign(halves as tf.Variable);
  halves.dispose();
}

/**
 * A weight from the bits of bfloat16 numbers, as checkpoints hold them, without a float32 copy on the way; the same as
 * {@link storeAsBfloat16} of their values.
 *
 * @param bits as many as the shape has elements; copied
 * @throws BackendError on another backend than `native`; Error where bits and shape do not fit
 */
export function bfloat16Variable(bits: Uint16Array, shape: readonly number[]): tf.Variable {
  const backend = requireNative('bfloat16Variable');
  if (bits.length !== tf.util.sizeFromShape([...shape])) {
    throw new Error(
      `bfloat16Variable: got ${bits.length} numbers, expected as many as the shape [${shape}] has`,
    );
  }
  const { info, values } = backend.allocateHalves([...shape]);
  values.set(bits);
  const initial = tf.engine().makeTensorFromTensorInfo(info);
  const weight = tf.variable(initial);
  initial.dispose();
  return weight;
}

/**
 * The numbers of a weight that is stored as bfloat16, as bits: its memory itself, not a copy, so that a table of
 * gigabytes is saved or changed in place without another one. Undefined for a tensor in float32.
 */
export function bfloat16Bits(tensor: tf.Tensor): Uint16Array | undefined {
  const stored = nativeBackend()?.stored(tensor);
  return stored instanceof Uint16Array ? stored : undefined;
}

/** Whether a tensor's numbers are stored as bfloat16. */
export function isStoredAsBfloat16(tensor: tf.Tensor): boolean {
  return bfloat16Bits(tensor) !== undefined;
}

function requireFloat16(): void {
  const gpu = webgpuBackend()?.gpu;
  if (gpu?.hasFloat16) return;
  const got = gpu ? `the GPU '${gpu.description}', which lacks it` : `the backend '${tf.getBackend()}'`;
  throw new BackendError(
    `precision: float16 needs the webgpu backend on a GPU with shader-f16, got ${got}; use bfloat16 or float32`,
  );
}

function requireNative(op: string): NativeBackend {
  const backend = nativeBackend();
  if (backend) return backend;
  throw new BackendError(
    `${op}: needs the native backend, got '${tf.getBackend()}'; keep weights in float32 here`,
  );
}
