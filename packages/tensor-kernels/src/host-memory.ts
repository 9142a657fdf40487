/** Tensors in the memory of this process, for code that sends and receives them: on `native` without a copy. */
import * as tf from '@tensorflow/tfjs-core';
import { nativeBackend } from './native-interface.ts';

/**
 * Returns the memory of a float32 tensor on `native`, valid as long as the tensor; undefined on other backends and for
 * other storage. Writes are visible in all tensors that share it.
 */
export function memoryOf(tensor: tf.Tensor): Float32Array | undefined {
  const stored = nativeBackend()?.stored(tensor);
  return stored instanceof Float32Array ? stored : undefined;
}

/**
 * Returns memory that no tensor uses to the system, on `native`: at the end of a phase whose sizes do not come again, such
 * as loading a model. Otherwise buffers are kept, up to a share of the most that was ever in use.
 */
export function trimMemory(): void {
  nativeBackend()?.pool.reset();
}

/**
 * Copies a float32 tensor to the start of an array; on `native`, unlike `tensor.data()`, without an allocation.
 */
export async function copyInto(tensor: tf.Tensor, target: Float32Array): Promise<void> {
  target.set(nativeBackend()?.floats(tensor) ?? (await tensor.data<'float32'>()));
}

/**
 * Copies new numbers into a float32 variable; on `native` in place, as `adamW` does: tensors that share its memory
 * change too.
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

/** A vector that is filled before it becomes a tensor. */
export interface StagedVector {
  /** Unspecified until written; on `native` the memory of the future tensor. */
  readonly values: Float32Array;
  /** Returns the vector as a tensor that the caller owns; call it once. */
  toTensor(): tf.Tensor1D;
  /** Frees the memory if no tensor was made. */
  dispose(): void;
}

/** Allocates a vector of `size` float32 numbers; on `native` from the pool of tensors. */
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
