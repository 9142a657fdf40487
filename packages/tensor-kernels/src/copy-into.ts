import type * as tf from '@tensorflow/tfjs';
import { nativeBackend } from './native-backend.ts';

/**
 * Copies the numbers of a float32 tensor to the beginning of an array; on `native` with nothing allocated on the way,
 * which `tensor.data()` does.
 */
export async function copyInto(tensor: tf.Tensor, target: Float32Array): Promise<void> {
  target.set(nativeBackend()?.values(tensor) ?? (await tensor.data<'float32'>()));
}
