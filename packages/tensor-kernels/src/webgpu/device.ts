/**
 * Finding a GPU: `navigator.gpu` in a browser, Dawn (the npm package `webgpu`) in Node.
 */

/** A GPU that can be used, and what it is. */
export interface GpuDevice {
  device: GPUDevice;
  info: GPUAdapterInfo;
  /** What the adapter says of itself: vendor, architecture, device, driver. */
  description: string;
  /** Whether kernels may hold half precision (`shader-f16`). */
  hasFloat16: boolean;
  /** Whether a processor only pretends to be a GPU; far slower than the native kernels on it. */
  isSoftware: boolean;
}

/** Limits whose default is lower than what most GPUs have. */
const WANTED_LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupSizeY',
  'maxComputeWorkgroupsPerDimension',
] as const;

// The types that TensorFlow.js brings are older than subgroups.
const WANTED_FEATURES = ['timestamp-query', 'shader-f16', 'subgroups'] as GPUFeatureName[];

/** What a browser has; Node has no `navigator` before version 21. */
const host = globalThis as { navigator?: { gpu?: GPU } };

const INSTALL_DAWN = 'install the packages webgpu and @tensorflow/tfjs-backend-webgpu';

/**
 * Asks for a device with all that the adapter offers.
 *
 * In Node `MEAP_GPU_ADAPTER` names one of several adapters, by a part of its name.
 *
 * @throws Error when there is no WebGPU or no adapter, listing the adapters there are.
 */
export async function requestDevice(): Promise<GpuDevice> {
  const adapter = await requestAdapter(await findGpu());
  if (!adapter) {
    throw new Error(
      'webgpu: no GPU adapter found; install a driver (on Linux libvulkan1 and the GPU’s Vulkan driver)',
    );
  }
  const device = await adapter.requestDevice({
    requiredFeatures: WANTED_FEATURES.filter((name) => adapter.features.has(name)),
    requiredLimits: Object.fromEntries(WANTED_LIMITS.map((name) => [name, adapter.limits[name]])),
  });
  const { info } = adapter;
  const words = [info.vendor, info.architecture, info.device, info.description].filter(Boolean).join(' ');
  return {
    device,
    info,
    description: words || 'unknown GPU',
    hasFloat16: device.features.has('shader-f16'),
    isSoftware: info.isFallbackAdapter || /swiftshader|llvmpipe|lavapipe|basic render/i.test(words),
  };
}

async function findGpu(): Promise<GPU> {
  if (host.navigator?.gpu) return host.navigator.gpu;
  if (!globalThis.process?.versions?.node) {
    throw new Error('webgpu: this browser has no WebGPU; use one that has, or another backend');
  }
  let dawn: typeof import('webgpu');
  try {
    // Not a literal, so that bundlers for browsers leave it alone.
    const name = 'webgpu';
    dawn = await import(/* @vite-ignore */ name);
  } catch (error) {
    throw new Error(`webgpu: Dawn is not here; ${INSTALL_DAWN}`, { cause: error });
  }
  // TensorFlow.js looks for the classes of WebGPU and for `navigator.gpu` where a browser has them.
  Object.assign(globalThis, dawn.globals);
  const gpu = dawn.create(dawnFlags());
  if (!host.navigator) Object.defineProperty(host, 'navigator', { value: {}, configurable: true });
  Object.defineProperty(host.navigator, 'gpu', { value: gpu, configurable: true });
  return gpu;
}

function dawnFlags(): string[] {
  const { MEAP_GPU_ADAPTER } = process.env;
  return [
    // Whole nanoseconds: a kernel's time is shorter than what browsers round to.
    'disable-dawn-features=timestamp_quantization',
    ...(process.platform === 'linux' ? ['backend=vulkan'] : []),
    ...(MEAP_GPU_ADAPTER ? [`adapter=${MEAP_GPU_ADAPTER}`] : []),
  ];
}

async function requestAdapter(gpu: GPU): Promise<GPUAdapter | null> {
  try {
    return await gpu.requestAdapter({ powerPreference: 'high-performance' });
  } catch (error) {
    // Dawn's message lists the adapters there are.
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`webgpu: MEAP_GPU_ADAPTER: ${reason}`, { cause: error });
  }
}
