import type * as tf from '@tensorflow/tfjs-core';
import type { Precision } from '../precision.ts';
import type { GpuDevice } from './device.ts';

interface TensorData {
  values?: tf.backend_util.BackendValues | null;
  resource?: GPUBuffer | null;
  dtype: tf.DataType;
  shape: number[];
}

interface BufferManager {
  device: Pick<GPUDevice, 'createBuffer'>;
  freeBuffers: Map<string, GPUBuffer[]>;
  numFreeBuffers: number;
  numBytesUsed: number;
  numBytesAllocated: number;
  acquireBuffer(size: number, usage: GPUBufferUsageFlags): GPUBuffer;
}

/** The parts of TensorFlow.js's WebGPU backend that this package uses. */
export interface StockBackend extends tf.KernelBackend {
  device: GPUDevice;
  queue: GPUQueue;
  bufferManager: BufferManager;
  tensorMap: tf.DataStorage<TensorData>;
  commandEncoder: GPUCommandEncoder | null;
  computePassEncoder: GPUComputePassEncoder | null;
  commandQueueOwnedIds: WeakSet<object>;
  dispatchCountInPass: number;
  uniformPendingDisposal: GPUBuffer[];
  activeTimers?: { name: string; query: Promise<number> }[];
  querySet: GPUQuerySet | null;
  supportTimestampQuery: boolean;
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
  getQueryTime(): Promise<number>;
  uploadToGPU(dataId: object): void;
  incRef(dataId: object): void;
  makeTensorInfo(shape: number[], dtype: tf.DataType, values?: tf.TypedArray): tf.TensorInfo;
  memory(): { unreliable: boolean; numBytesInGPU: number; numBytesAllocatedInGPU: number };
}

/** The WebGPU backend of this package, as its kernels see it. */
export interface WebgpuBackend extends StockBackend {
  readonly gpu: GpuDevice;
  readonly pipelines: Map<string, GPUComputePipeline>;
  precision: Precision;
  /** Throws the first error of the device, if there was one. */
  requireHealthy(): void;
  /** Records an error scope, for which the next read waits. */
  watch(scope: Promise<GPUError | null>, what: string): void;
  /** A tensor's buffer, uploaded on first use. */
  buffer(tensor: tf.TensorInfo): GPUBuffer;
  /** Values that the host holds. */
  hostValues(tensor: tf.TensorInfo): tf.TypedArray | undefined;
  /** Drops the values that the host holds, after a kernel changed a tensor in place. */
  forgetHostValues(tensor: tf.TensorInfo): void;
}
