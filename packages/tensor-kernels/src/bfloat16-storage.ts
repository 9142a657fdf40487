import * as tf from '@tensorflow/tfjs-core';
import { BackendError } from './errors.ts';
import { type NativeBackend, nativeBackend } from './native-interface.ts';
import { runKernel } from './ops.ts';

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
  const { info, values } = backend.allocateBfloat16([...shape]);
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

function requireNative(op: string): NativeBackend {
  const backend = nativeBackend();
  if (backend) return backend;
  throw new BackendError(
    `${op}: needs the native backend, got '${tf.getBackend()}'; keep weights in float32 here`,
  );
}
