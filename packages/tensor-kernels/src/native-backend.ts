import * as tf from '@tensorflow/tfjs-core';
import type { NativeAddon } from './addon-interface.ts';
import { BufferPool } from './buffer-pool.ts';
import { loadNativeAddon } from './native-addon.ts';
import type { CpuBackend, NativeBackend, QuantizedFormat } from './native-interface.ts';
import { registerNativeKernels } from './native-kernels.ts';
import type { Precision } from './precision.ts';
import { quantizedBytes, quantizedSize, writeQuantizedHeader } from './quantized-layout.ts';

/**
 * Registers the `native` backend: TensorFlow.js's CPU backend over recycled buffers, with SIMD kernels for the ops that
 * dominate training. All other ops run TensorFlow.js's JavaScript.
 *
 * @throws Error if there is no addon
 */
export function registerNativeBackend(): void {
  if (tf.findBackendFactory('native')) return;
  const addon = loadNativeAddon();
  tf.registerBackend('native', () => createBackend(addon), 3);
  for (const kernel of tf.getKernelsForBackend('cpu')) {
    tf.registerKernel({ ...kernel, backendName: 'native', kernelFunc: readingFloats(kernel) });
  }
  registerNativeKernels();
}

/** JavaScript kernels that pass data on without reading it. */
const PASSING = new Set(['Identity', 'Reshape']);

/** Wraps a JavaScript kernel so that it receives bfloat16 and quantised inputs as float32. */
function readingFloats({ kernelName, kernelFunc }: tf.KernelConfig): tf.KernelFunc {
  if (PASSING.has(kernelName)) return kernelFunc;
  return (call) => {
    const backend = call.backend as NativeBackend;
    const isStoredCompact = (input: tf.TensorInfo) =>
      input.dtype === 'float32' && isCompact(backend.stored(input));
    const given = Object.values(call.inputs).filter(Boolean) as tf.TensorInfo[];
    if (!given.some(isStoredCompact)) return kernelFunc(call);
    const expanded: tf.TensorInfo[] = [];
    const expand = (input: tf.TensorInfo) => {
      if (!input || !isStoredCompact(input)) return input;
      const info = backend.makeTensorInfo(input.shape, 'float32', backend.floats(input));
      expanded.push(info);
      return info;
    };
    // Concat and similar kernels take a list.
    const inputs = Array.isArray(call.inputs)
      ? call.inputs.map(expand)
      : Object.fromEntries(
          Object.entries(call.inputs).map(([name, input]) => [name, expand(input as tf.TensorInfo)]),
        );
    const result = kernelFunc({ ...call, inputs: inputs as tf.NamedTensorInfoMap });
    for (const { dataId } of expanded) backend.disposeData(dataId);
    return result;
  };
}

/** Whether the memory of a float32 tensor has bfloat16 or quantised numbers. */
function isCompact(stored: unknown): stored is Uint16Array | Uint8Array {
  return stored instanceof Uint16Array || stored instanceof Uint8Array;
}

/** Size of a huge page; the addon aligns buffers of at least this size to it. */
const HUGE_PAGE_BYTES = 2 ** 21;

function createBackend(addon: NativeAddon): NativeBackend {
  // The installed package does not export the class, but registers an instance.
  const Base = (tf.findBackend('cpu') as CpuBackend).constructor as new () => CpuBackend;

  return new (class extends Base implements NativeBackend {
    readonly addon = addon;
    readonly pool = new BufferPool(addon);
    precision: Precision = 'float32';
    // Silences the base class's advice to install tfjs-node.
    firstUse = false;

    override write(values: tf.backend_util.BackendValues, shape: number[], dtype: tf.DataType): object {
      const held = this.#inHugePages(values);
      this.#retain(held);
      return super.write(held, shape, dtype);
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
      const { values: stored, dtype } = this.data.get(dataId);
      if (dtype === 'float32' && isCompact(stored)) return this.#expand(stored);
      const values = super.readSync(dataId);
      // The caller's array must not change when the buffer is recycled.
      const recycles = ArrayBuffer.isView(values) && this.pool.owns(values.buffer);
      return recycles ? (values as Float32Array).slice() : values;
    }

    override async read(dataId: object): Promise<tf.backend_util.BackendValues> {
      return this.readSync(dataId);
    }

    override memory() {
      const { freeBytes: numBytesInPool, peakBytes } = this.pool.memory();
      const scratchBytes = addon.scratchBytes();
      return { unreliable: false, numBytesInPool, peakBytes: peakBytes + scratchBytes, scratchBytes };
    }

    allocate(shape: number[]): { info: tf.TensorInfo; values: Float32Array } {
      const size = tf.util.sizeFromShape(shape);
      const values = new Float32Array(this.pool.take(size * 4), 0, size);
      return { info: this.makeTensorInfo(shape, 'float32', values), values };
    }

    allocateBfloat16(shape: number[]): { info: tf.TensorInfo; values: Uint16Array } {
      const size = tf.util.sizeFromShape(shape);
      const values = new Uint16Array(this.pool.take(size * 2), 0, size);
      // TensorFlow.js sees a float32 tensor.
      const info = this.makeTensorInfo(shape, 'float32', values as unknown as Float32Array);
      return { info, values };
    }

    allocateQuantized(shape: number[], format: QuantizedFormat): { info: tf.TensorInfo; values: Uint8Array } {
      const size = tf.util.sizeFromShape(shape);
      const bytes = quantizedBytes(size, format);
      const values = new Uint8Array(this.pool.take(bytes), 0, bytes);
      writeQuantizedHeader(values, size, format);
      const info = this.makeTensorInfo(shape, 'float32', values as unknown as Float32Array);
      return { info, values };
    }

    stored(tensor: tf.TensorInfo): tf.TypedArray | Uint16Array {
      return this.data.get(tensor.dataId).values as tf.TypedArray;
    }

    floats(tensor: tf.TensorInfo): Float32Array {
      const stored = this.stored(tensor);
      return isCompact(stored) ? this.#expand(stored) : (stored as Float32Array);
    }

    ints(tensor: tf.TensorInfo): Int32Array {
      return this.stored(tensor) as Int32Array;
    }

    #expand(stored: Uint16Array | Uint8Array): Float32Array {
      const isQuantized = stored instanceof Uint8Array;
      const n = isQuantized ? quantizedSize(stored) : stored.length;
      const y = new Float32Array(n);
      if (isQuantized) addon.dequantize({ n, x: stored, y });
      else addon.fromBfloat16({ n, x: stored, y });
      return y;
    }

    /** Copies large JavaScript arrays, such as weights, into huge pages: products stride through them. */
    #inHugePages(values: tf.backend_util.BackendValues): tf.backend_util.BackendValues {
      if (!(values instanceof Float32Array) || values.byteLength < HUGE_PAGE_BYTES) return values;
      if (this.pool.owns(values.buffer)) return values;
      const copy = new Float32Array(this.pool.take(values.byteLength), 0, values.length);
      copy.set(values);
      return copy;
    }

    #retain(values: tf.backend_util.BackendValues): void {
      if (ArrayBuffer.isView(values)) this.pool.retain(values.buffer);
    }
  })();
}
