/** Numbers of tensors in this process's memory, for what sends and receives them: on `native` without a copy. */
import * as tf from '@tensorflow/tfjs-core';
import { nativeBackend } from './native-interface.ts';

/**
 * The memory of a float32 tensor itself, on `native`; undefined on other backends and for what is stored otherwise.
 * Tensors that share it see what is written to it, and it is valid for as long as the tensor.
 */
export function memoryOf(tensor: tf.Tensor): Float32Array | undefined {
  const stored = nativeBackend()?.stored(tensor);
  return stored instanceof Float32Array ? stored : undefined;
}

/**
 * Copies the numbers of a float32 tensor to the beginning of an array; on `native` with nothing allocated on the way,
 * which `tensor.data()` does.
 */
export async function copyInto(tensor: tf.Tensor, target: Float32Array): Promise<void> {
  target.set(nativeBackend()?.floats(tensor) ?? (await tensor.data<'float32'>()));
}

/**
 * Gives a float32 variable new numbers, and copies them; on `native` into the memory it has, as `adamW` does: tensors that
 * share it change with it.
 */
export function overwrite(variable: tf.Variable, values: Float32Array): void {
  const memory = memoryOf(variable);
  if (memory) {
    memory.set(values);
    return;
  }
  const value = tf.tensor(values.slice(), variable.shape, 'float32');
  variable.assign(value);
  value.dispose();
}

/** A vector whose numbers are written from outside before it is a tensor. */
export interface StagedVector {
  /** Unspecified until written; on `native` the memory of the tensor to come. */
  readonly values: Float32Array;
  /** The vector as a tensor, the caller's from then on; once. */
  toTensor(): tf.Tensor1D;
  /** Gives the memory back where no tensor was made. */
  dispose(): void;
}

/** Room for a vector of `size` float32 numbers; on `native` from the pool that tensors come from. */
export function stageVector(size: number): StagedVector {
  const native = nativeBackend();
  if (!native) {
    const values = new Float32Array(size);
    return { values, toTensor: () => tf.tensor1d(values), dispose() {} };
  }
  const { info, values } = native.allocate([size]);
  const tensor = tf.engine().makeTensorFromTensorInfo(info) as tf.Tensor1D;
  return { values, toTensor: () => tensor, dispose: () => tensor.dispose() };
}
