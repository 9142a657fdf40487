import * as tf from '@tensorflow/tfjs';
import { BackendError } from './backend.ts';
import { nativeBackend, type Precision } from './native-backend.ts';

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
