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

/** The parts of TensorFlow.js's WebGPU backend that this one builds on. */
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
  /** Throws what went wrong on the device since it started, if anything did. */
  requireHealthy(): void;
  /** Keeps a promise of the device's verdict on something, for the next read to wait for. */
  watch(verdict: Promise<GPUError | null>, what: string): void;
  /** A tensor's buffer, uploaded if it is not there yet. */
  buffer(tensor: tf.TensorInfo): GPUBuffer;
  /** Values that the host knows without asking the device. */
  hostValues(tensor: tf.TensorInfo): tf.TypedArray | undefined;
  /** Forgets what the host knows, after a kernel changed a tensor in place. */
  forgetHostValues(tensor: tf.TensorInfo): void;
}
