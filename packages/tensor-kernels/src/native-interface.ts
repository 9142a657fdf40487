import * as tf from '@tensorflow/tfjs-core';
import type { NativeAddon } from './addon-interface.ts';
import type { BufferPool } from './buffer-pool.ts';
import type { Precision } from './precision.ts';

/** A number format of frozen weights in fewer bits. */
export type QuantizedFormat = 'int8' | 'nf4';

interface TensorData {
  values?: tf.backend_util.BackendValues;
  dtype: tf.DataType;
  refCount: number;
}

/** The parts of TensorFlow.js's CPU backend that the native backend uses. */
export interface CpuBackend extends tf.KernelBackend {
  data: tf.DataStorage<TensorData>;
  write(values: tf.backend_util.BackendValues, shape: number[], dtype: tf.DataType): object;
  incRef(dataId: object): void;
  makeTensorInfo(shape: number[], dtype: tf.DataType, values?: tf.TypedArray): tf.TensorInfo;
}

/** The native backend, as its kernels see it. */
export interface NativeBackend extends CpuBackend {
  readonly addon: NativeAddon;
  readonly pool: BufferPool;
  precision: Precision;
  /** Creates a tensor over a recycled buffer, with unspecified content. */
  allocate(shape: number[]): { info: tf.TensorInfo; values: Float32Array };
  /** Creates a float32 tensor that is stored as bfloat16, over a recycled buffer. */
  allocateBfloat16(shape: number[]): { info: tf.TensorInfo; values: Uint16Array };
  /** Creates a float32 tensor that is stored in 8 or 4 bits, over a recycled buffer; its numbers are unspecified. */
  allocateQuantized(shape: number[], format: QuantizedFormat): { info: tf.TensorInfo; values: Uint8Array };
  /** The numbers of a float32 tensor; a copy if it is stored as bfloat16 or quantised. */
  floats(tensor: tf.TensorInfo): Float32Array;
  /** The numbers of an int32 tensor. */
  ints(tensor: tf.TensorInfo): Int32Array;
  /** The memory of a tensor: its numbers, the bits of bfloat16 in a Uint16Array, or quantised numbers in a Uint8Array. */
  stored(tensor: tf.TensorInfo): tf.TypedArray | Uint16Array;
}

/** Returns the native backend if it is in use. */
export function nativeBackend(): NativeBackend | undefined {
  return tf.getBackend() === 'native' ? (tf.backend() as NativeBackend) : undefined;
}
