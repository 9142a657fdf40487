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
  allocateHalves(shape: number[]): { info: tf.TensorInfo; values: Uint16Array };
  /** A tensor's numbers; a copy where they are stored as bfloat16, so nothing to write into. */
  values(tensor: tf.TensorInfo): tf.TypedArray;
  /** What holds a tensor: the bits of bfloat16 in a Uint16Array, or its numbers. */
  stored(tensor: tf.TensorInfo): tf.TypedArray | Uint16Array;
}

/** The running native backend, or undefined when another one is in use. */
export function nativeBackend(): NativeBackend | undefined {
  return tf.getBackend() === 'native' ? (tf.backend() as NativeBackend) : undefined;
}
