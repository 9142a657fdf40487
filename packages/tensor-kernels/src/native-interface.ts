import * as tf from '@tensorflow/tfjs-core';
import type { NativeAddon } from './addon-interface.ts';
import type { BufferPool } from './buffer-pool.ts';
import type { Precision } from './precision.ts';

interface TensorData {
  values?: tf.backend_util.BackendValues;
  refCount: number;
}

/** The parts of TensorFlow.js's CPU backend that this one builds on. */
export interface CpuBackend extends tf.KernelBackend {
  data: tf.DataStorage<TensorData>;
  write(values: tf.backend_util.BackendValues, shape: number[], dtype: tf.DataType): object;
  incRef(dataId: object): void;
  makeTensorInfo(shape: number[], dtype: tf.DataType, values?: tf.TypedArray): tf.TensorInfo;
}

/** The CPU backend of this package, as its kernels see it. */
export interface NativeBackend extends CpuBackend {
  readonly addon: NativeAddon;
  readonly pool: BufferPool;
  precision: Precision;
  /** A tensor over a recycled buffer; its content is unspecified. */
  allocate(shape: number[]): { info: tf.TensorInfo; values: Float32Array };
  /** A float32 tensor whose numbers are bfloat16, over a recycled buffer. */
  allocateBfloat16(shape: number[]): { info: tf.TensorInfo; values: Uint16Array };
  /** The numbers of a float32 tensor; a copy where they are stored as bfloat16, so nothing to write into. */
  floats(tensor: tf.TensorInfo): Float32Array;
  /** The numbers of an int32 tensor. */
  ints(tensor: tf.TensorInfo): Int32Array;
  /** The array that holds a tensor: its numbers, or the bits of bfloat16 in a Uint16Array. */
  stored(tensor: tf.TensorInfo): tf.TypedArray | Uint16Array;
}

/** The running native backend, or undefined when another one is in use. */
export function nativeBackend(): NativeBackend | undefined {
  return tf.getBackend() === 'native' ? (tf.backend() as NativeBackend) : undefined;
}
