import * as tf from '@tensorflow/tfjs';
import { BackendError } from './backend.ts';
import { nativeBackend, type Precision } from './native-backend.ts';
import { runKernel } from './ops.ts';

/**
 * Sets how matrix products compute on the current backend: `float32`, or `bfloat16` inputs (rounded to nearest
 * even) with float32 sums. Tensors, weights and every other op stay float32, so these are float32 master weights.
 *
 * @throws BackendError for `bfloat16` on a backend that has no such products.
 */
export function setPrecision(precision: Precision): void {
  const backend = nativeBackend();
  if (backend) backend.precision = precision;
  else if (precision !== 'float32') {
    throw new BackendError(
      `precision: ${precision} needs the native backend, got '${tf.getBackend()}'; use float32 here`,
    );
  }
}

/**
 * The dense multiply-add rate of all threads in GFLOP/s: the limit that utilisation is measured against.
 * Takes about a tenth of a second; undefined on backends where it cannot be measured.
 */
export function measurePeak(precision: Precision = 'float32'): number | undefined {
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
  if (!nativeBackend()) {
    throw new BackendError(
      `storeAsBfloat16: needs the native backend, got '${tf.getBackend()}'; keep weights in float32 here`,
    );
  }
  const [halves] = runKernel('StoreBfloat16', { x: weight });
  weight.assign(halves as tf.Variable);
  halves.dispose();
}

/** Whether {@link storeAsBfloat16} made a tensor what it is. */
export function isStoredAsBfloat16(tensor: tf.Tensor): boolean {
  return nativeBackend()?.stored(tensor) instanceof Uint16Array;
}
