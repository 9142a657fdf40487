import * as tf from '@tensorflow/tfjs-core';
import { BackendError } from './errors.ts';
import { type NativeBackend, nativeBackend } from './native-interface.ts';
import { runKernel } from './ops.ts';

/**
 * Rounds a weight to bfloat16 (to nearest even) and stores it in half the memory.
 *
 * It stays a float32 tensor to every op. `linear`, matrix products with it on the right, `embedding`,
 * `linearCrossEntropy` and `scoreTokens` read bfloat16; other ops make a float32 copy at each call. For weights that are
 * not trained: an assignment makes it float32 again.
 *
 * @throws BackendError on a backend other than `native`
 */
export function storeAsBfloat16(weight: tf.Variable): void {
  requireNative('storeAsBfloat16');
  const [stored] = runKernel('StoreBfloat16', { x: weight });
  weight.assign(stored as tf.Variable);
  stored.dispose();
}

/**
 * Creates a weight that is stored as bfloat16, as by {@link storeAsBfloat16}, without a float32 copy. Its numbers are
 * unspecified until they are written through {@link bfloat16Bits}.
 *
 * @throws BackendError on a backend other than `native`
 */
export function bfloat16Variable(shape: readonly number[]): tf.Variable {
  const backend = requireNative('bfloat16Variable');
  const { info } = backend.allocateBfloat16([...shape]);
  const initial = tf.engine().makeTensorFromTensorInfo(info);
  const weight = tf.variable(initial);
  initial.dispose();
  return weight;
}

/**
 * Returns the memory of a weight stored as bfloat16, not a copy, so that a table of gigabytes can be read, saved
 * or changed in place. Undefined for a tensor in float32.
 */
export function bfloat16Bits(tensor: tf.Tensor): Uint16Array | undefined {
  const stored = nativeBackend()?.stored(tensor);
  return stored instanceof Uint16Array ? stored : undefined;
}

/** Returns whether a tensor is stored as bfloat16. */
export function isStoredAsBfloat16(tensor: tf.Tensor): boolean {
  return bfloat16Bits(tensor) !== undefined;
}

/** @throws BackendError unless the native backend is in use */
export function requireNative(op: string): NativeBackend {
  const backend = nativeBackend();
  if (backend) return backend;
  throw new BackendError(
    `${op}: needs the native backend, got '${tf.getBackend()}'; keep weights in float32 here`,
  );
}
