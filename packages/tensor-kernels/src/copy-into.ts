import * as tf from '@tensorflow/tfjs';
import { nativeBackend } from './native-backend.ts';

/**
 * Copies the numbers of a float32 tensor to the beginning of an array; on `native` with nothing allocated on the way,
 * which `tensor.data()` does.
 */
export async function copyInto(tensor: tf.Tensor, target: Float32Array): Promise<void> {
  target.set(nativeBackend()?.values(tensor) ?? (await tensor.data<'float32'>()));
}

/**
 * Gives a float32 variable new numbers, and copies them; on `native` into the memory it has, as `adamW` does: tensors that
 * share it change with it.
 */
export function overwrite(variable: tf.Variable, values: Float32Array): void {
  const stored = nativeBackend()?.stored(variable);
  if (stored instanceof Float32Array) {
    stored.set(values);
    return;
  }
  const value = tf.tensor(values.slice(), variable.shape, 'float32');
  variable.assign(value);
  value.dispose();
}
