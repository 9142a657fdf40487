import * as tf from '@tensorflow/tfjs';
import { BufferPool } from './buffer-pool.ts';
import { loadNativeAddon, type NativeAddon } from './native-addon.ts';
import { registerNativeKernels } from './native-kernels.ts';

/** How matrix products round their inputs; see {@link setPrecision}. */
export type Precision = 'float32' | 'bfloat16';

interface TensorData {
  values?: tf.backend_util.BackendValues;
  refCount: number;
}

/** The parts of TensorFlow.js's CPU backend that this one builds on. */
interface CpuBackend extends tf.KernelBackend {
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
  values(tensor: tf.TensorInfo): tf.TypedArray;
}

/**
 * Registers the `native` backend: TensorFlow.js's CPU backend over recycled buffers, with this package's SIMD
 * kernels in place of the hot ones. Every other op runs TensorFlow.js's own JavaScript.
 *
 * @throws Error when the addon is not there.
 */
export function registerNativeBackend(): void {
  if (tf.findBackendFactory('native')) return;
  const addon = loadNativeAddon();
  tf.registerBackend('native', () => createBackend(addon), 3);
  for (const kernel of tf.getKernelsForBackend('cpu')) {
    tf.registerKernel({ ...kernel, backendName: 'native' });
  }
  registerNativeKernels();
}

/** The running native backend, or undefined when another one is in use. */
export function nativeBackend(): NativeBackend | undefined {
  return tf.getBackend() === 'native' ? (tf.backend() as NativeBackend) : undefined;
}

function createBackend(addon: NativeAddon): NativeBackend {
  // The class is not exported by the package that users install; its instance is at hand.
  const Base = (tf.findBackend('cpu') as CpuBackend).constructor as new () => CpuBackend;

  return new (class extends Base implements NativeBackend {
    readonly addon = addon;
    readonly pool = new BufferPool((bytes) => addon.allocate(bytes));
    precision: Precision = 'float32';
    // Silences the base class's advice to install tfjs-node.
    firstUse = false;

    override write(values: tf.backend_util.BackendValues, shape: number[], dtype: tf.DataType): object {
      this.#retain(values);
      return super.write(values, shape, dtype);
    }

    override move(
      dataId: object,
      values: tf.backend_util.BackendValues,
      shape: number[],
      dtype: tf.DataType,
      refCount: number,
    ): void {
      this.#retain(values);
      super.move(dataId, values, shape, dtype, refCount);
    }

    override disposeData(dataId: object, force = false): boolean {
      const values = this.data.has(dataId) ? this.data.get(dataId).values : undefined;
      const gone = super.disposeData(dataId, force);
      if (gone && ArrayBuffer.isView(values)) this.pool.release(values.buffer);
      return gone;
    }

    override readSync(dataId: object): tf.backend_util.BackendValues {
      const values = super.readSync(dataId);
      // The caller's array must not change when the buffer finds its next tensor.
      const recycles = ArrayBuffer.isView(values) && this.pool.owns(values.buffer);
      return recycles ? (values as Float32Array).slice() : values;
    }

    override async read(dataId: object): Promise<tf.backend_util.BackendValues> {
      return this.readSync(dataId);
    }

    override memory(): {
      unreliable: boolean;
      numBytesInPool: number;
      peakBytes: number;
      scratchBytes: number;
    } {
      const { freeBytes, peakBytes } = this.pool.memory();
      const scratchBytes = addon.scratchBytes();
      return {
        unreliable: false,
        numBytesInPool: freeBytes,
        peakBytes: peakBytes + scratchBytes,
        scratchBytes,
      };
    }

    allocate(shape: number[]): { info: tf.TensorInfo; values: Float32Array } {
      const size = tf.util.sizeFromShape(shape);
      const values = new Float32Array(this.pool.take(size * 4), 0, size);
      return { info: this.makeTensorInfo(shape, 'float32', values), values };
    }

    values(tensor: tf.TensorInfo): tf.TypedArray {
      return this.data.get(tensor.dataId).values as tf.TypedArray;
    }

    #retain(values: tf.backend_util.BackendValues): void {
      if (ArrayBuffer.isView(values)) this.pool.retain(values.buffer);
    }
  })();
}
