/**
 * The `webgpu` backend: TensorFlow.js's backend on a device with the adapter's full limits, with clear errors, freed
 * buffers, and this package's WGSL kernels.
 */
import * as tf from '@tensorflow/tfjs-core';
import { BackendError } from '../errors.ts';
import type { Precision } from '../precision.ts';
import type { StockBackend, WebgpuBackend } from './backend-interface.ts';
import { type GpuDevice, howToInstall, requestDevice } from './device.ts';
import { registerWebgpuKernels } from './kernels.ts';

type StockClass = new (device: GPUDevice, info: GPUAdapterInfo) => StockBackend;

/** Elements of the largest float tensor whose values the host keeps after the upload. */
const MAX_HOST_FLOATS = 1 << 16;

/** Bytes of free buffers always kept for reuse. */
const KEPT_BYTES = 256 << 20;

let registered: { gpu: GpuDevice; Stock: StockClass } | undefined;

/**
 * Finds the GPU and registers the backend `webgpu`.
 *
 * @throws Error that says what is missing
 */
export async function registerWebgpuBackend(): Promise<GpuDevice> {
  if (registered) return registered.gpu;
  const gpu = await requestDevice();
  const Stock = await loadStockBackend();
  registered = { gpu, Stock };
  // In a browser the import of TensorFlow.js's package registers its backend under this name.
  if (tf.findBackendFactory('webgpu')) tf.removeBackend('webgpu');
  tf.registerBackend('webgpu', () => createBackend(gpu, Stock), 3);
  registerWebgpuKernels(gpu.device.limits);
  return gpu;
}

/** Returns the WebGPU backend if it is in use. */
export function webgpuBackend(): WebgpuBackend | undefined {
  return registered && tf.getBackend() === 'webgpu' ? (tf.backend() as WebgpuBackend) : undefined;
}

async function loadStockBackend(): Promise<StockClass> {
  try {
    const loaded = (await import('@tensorflow/tfjs-backend-webgpu')) as unknown as {
      WebGPUBackend?: StockClass;
      default?: { WebGPUBackend: StockClass };
    };
    return (loaded.WebGPUBackend ?? loaded.default?.WebGPUBackend) as StockClass;
  } catch (error) {
    throw new Error(
      `webgpu: the package @tensorflow/tfjs-backend-webgpu is not installed; ${howToInstall()}`,
      {
        cause: error,
      },
    );
  }
}

function createBackend(gpu: GpuDevice, Stock: StockClass): WebgpuBackend {
  const { device } = gpu;

  return new (class extends Stock implements WebgpuBackend {
    readonly gpu = gpu;
    readonly pipelines = new Map<string, GPUComputePipeline>();
    precision: Precision = 'float32';
    #failure: BackendError | undefined;
    readonly #scopes = new Set<Promise<void>>();

    constructor() {
      super(device, gpu.info);
      this.bufferManager.device = { createBuffer: (descriptor) => this.#createBuffer(descriptor) };
      device.lost.then(({ reason, message }) => {
        this.#failure ??= new BackendError(
          `webgpu: the device was lost: ${message || reason}; resume from the last checkpoint in a new process`,
        );
      });
    }

    requireHealthy(): void {
      if (this.#failure) throw this.#failure;
    }

    watch(scope: Promise<GPUError | null>, what: string): void {
      const settled = scope
        .then((error) => {
          if (!error) return;
          const { limits } = device;
          this.#failure ??= new BackendError(
            error instanceof GPUOutOfMemoryError
              ? `webgpu: out of memory for ${what} beside ${megabytes(this.bufferManager.numBytesAllocated)} in use; ` +
                  'use smaller batches or recompute activations'
              : `webgpu: ${what}: ${error.message} (bindings of at most ${megabytes(limits.maxStorageBufferBindingSize)})`,
          );
        })
        .catch(() => {})
        .finally(() => this.#scopes.delete(settled));
      this.#scopes.add(settled);
    }

    buffer(tensor: tf.TensorInfo): GPUBuffer {
      this.uploadToGPU(tensor.dataId);
      return this.tensorMap.get(tensor.dataId).resource!;
    }

    hostValues(tensor: tf.TensorInfo): tf.TypedArray | undefined {
      return (this.tensorMap.get(tensor.dataId).values as tf.TypedArray | null) ?? undefined;
    }

    forgetHostValues(tensor: tf.TensorInfo): void {
      this.tensorMap.get(tensor.dataId).values = null;
    }

    override uploadToGPU(dataId: object): void {
      const data = this.tensorMap.get(dataId);
      const { values } = data;
      super.uploadToGPU(dataId);
      // The host reads ids and masks too; reading them from the device would stall it.
      const isSmall = data.dtype !== 'float32' || (values?.length ?? 0) <= MAX_HOST_FLOATS;
      if (values && isSmall) data.values = values;
    }

    override readSync(dataId: object): tf.backend_util.BackendValues {
      const { values } = this.tensorMap.get(dataId);
      if (values) return values;
      throw new BackendError('webgpu: a GPU cannot be read synchronously; use `await tensor.data()`');
    }

    override async read(dataId: object): Promise<tf.backend_util.BackendValues> {
      this.requireHealthy();
      const held = this.tensorMap.get(dataId);
      const isCached = held?.values != null;
      let values: tf.backend_util.BackendValues;
      try {
        values = await super.read(dataId);
      } catch (error) {
        await Promise.all(this.#scopes);
        this.requireHealthy();
        const reason = error instanceof Error ? error.message : String(error);
        throw new BackendError(`webgpu: reading from the device failed: ${reason}`, { cause: error });
      }
      await Promise.all(this.#scopes);
      this.requireHealthy();
      // A kernel may have written to the tensor during the read: the cached values would be stale.
      if (!isCached && held) held.values = null;
      return values;
    }

    #createBuffer(descriptor: GPUBufferDescriptor): GPUBuffer {
      this.requireHealthy();
      const { size, usage } = descriptor;
      const { maxBufferSize, maxStorageBufferBindingSize } = device.limits;
      const limit =
        usage & GPUBufferUsage.STORAGE ? Math.min(maxBufferSize, maxStorageBufferBindingSize) : maxBufferSize;
      if (size > limit) {
        throw new BackendError(
          `webgpu: a tensor of ${megabytes(size)} exceeds the largest binding of this device, ${megabytes(limit)}; ` +
            'use smaller batches',
        );
      }
      this.#trim();
      device.pushErrorScope('out-of-memory');
      const buffer = device.createBuffer(descriptor);
      this.watch(device.popErrorScope(), `a buffer of ${megabytes(size)}`);
      return buffer;
    }

    /** Destroys free buffers while they hold more than those in use: shapes have changed. */
    #trim(): void {
      const manager = this.bufferManager;
      for (const list of manager.freeBuffers.values()) {
        while (list.length > 0) {
          const free = manager.numBytesAllocated - manager.numBytesUsed;
          if (free <= Math.max(KEPT_BYTES, manager.numBytesUsed)) return;
          const buffer = list.pop()!;
          manager.numFreeBuffers -= 1;
          manager.numBytesAllocated -= buffer.size;
          buffer.destroy();
        }
      }
    }
  })();
}

function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)} MiB`;
}
