/**
 * Finding a GPU: `navigator.gpu` in a browser, Dawn (the npm package `webgpu`) in Node.
 */

import { installCommand } from '../install-command.ts';

/** A GPU that can be used, and what it is. */
export interface GpuDevice {
  device: GPUDevice;
  info: GPUAdapterInfo;
  /** What the adapter says of itself: vendor, architecture, device, driver. */
  description: string;
  /** Whether kernels may hold half precision (`shader-f16`). */
  hasFloat16: boolean;
  /** Most lanes of a subgroup; 0 where kernels cannot use subgroups. */
  largestSubgroup: number;
  /** Matrix units, where kernels can use them. */
  subgroupMatrix?: SubgroupMatrix;
  /** Whether a processor only pretends to be a GPU; far slower than the native kernels on it. */
  isSoftware: boolean;
}

/** What a GPU's matrix units multiply: square matrices of halves, summed in float32, by subgroups of so many lanes. */
export interface SubgroupMatrix {
  size: number;
  lanes: number;
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
const WANTED_FEATURES = [
  'timestamp-query',
  'shader-f16',
  'subgroups',
  'chromium-experimental-subgroup-matrix',
] as GPUFeatureName[];

/** What a browser has; Node has no `navigator` before version 21. */
const host = globalThis as { navigator?: { gpu?: GPU } };

/** How to get what this backend needs. */
/** How to get what Node has not got of WebGPU, 150 MB for all platforms. */
export const howToInstall = () => `run ${installCommand(['webgpu', '@tensorflow/tfjs-backend-webgpu'])}`;

/**
 * Asks for a device with all that the adapter offers.
 *
 * In Node `MEAP_GPU_ADAPTER` names one of several adapters, by a part of its name.
 *
 * @throws Error when there is no WebGPU or no adapter, listing the adapters there are.
 */
export async function requestDevice(): Promise<GpuDevice> {
  const gpu = await findGpu();
  const adapter = await requestAdapter(gpu);
  if (!adapter) {
    throw new Error(
      'webgpu: no GPU adapter found; install a driver (on Linux libvulkan1 and the GPU’s Vulkan driver)',
    );
  }
  const { info } = adapter;
  const device = await adapter.requestDevice({
    requiredFeatures: WANTED_FEATURES.filter((name) => adapter.features.has(name)),
    requiredLimits: Object.fromEntries(WANTED_LIMITS.map((name) => [name, adapter.limits[name]])),
  });
  const words = [info.vendor, info.architecture, info.device, info.description].filter(Boolean).join(' ');
  const subgroups = largestSubgroup(gpu, device, info);
  return {
    device,
    info,
    description: words || 'unknown GPU',
    hasFloat16: device.features.has('shader-f16'),
    largestSubgroup: subgroups,
    subgroupMatrix: subgroups > 0 ? subgroupMatrix(device, info) : undefined,
    isSoftware: info.isFallbackAdapter || /swiftshader|llvmpipe|lavapipe|basic render/i.test(words),
  };
}

/** Kernels combine subgroups in the order of their ids, a later addition to the language than subgroups. */
function largestSubgroup(gpu: GPU, device: GPUDevice, info: GPUAdapterInfo): number {
  const hasIds = (gpu.wgslLanguageFeatures as ReadonlySet<string>).has('subgroup_id');
  if (!hasIds || !device.features.has('subgroups' as GPUFeatureName)) return 0;
  return (info as SubgroupInfo).subgroupMaxSize;
}

interface SubgroupInfo extends GPUAdapterInfo {
  subgroupMinSize: number;
  subgroupMaxSize: number;
  subgroupMatrixConfigs?: {
    componentType: string;
    resultComponentType: string;
    M: number;
    N: number;
    K: number;
  }[];
}

/** Bytes of workgroup memory that products through subgroup matrices take. */
const MATRIX_WORKGROUP_BYTES = 24 << 10;

/** The kernel's quarters of a tile belong to four subgroups, whose size must therefore be known. */
function subgroupMatrix(device: GPUDevice, info: GPUAdapterInfo): SubgroupMatrix | undefined {
  const { subgroupMinSize, subgroupMaxSize: lanes, subgroupMatrixConfigs = [] } = info as SubgroupInfo;
  const isOffered = device.features.has('chromium-experimental-subgroup-matrix' as GPUFeatureName);
  const { maxComputeWorkgroupStorageSize: memory, maxComputeInvocationsPerWorkgroup: threads } =
    device.limits;
  if (!isOffered || !device.features.has('shader-f16') || subgroupMinSize !== lanes) return undefined;
  if (memory < MATRIX_WORKGROUP_BYTES || threads < 4 * lanes) return undefined;
  const square = [...subgroupMatrixConfigs].find(
    ({ componentType, resultComponentType, M, N, K }) =>
      componentType === 'f16' && resultComponentType === 'f32' && M === N && N === K && 32 % M === 0,
  );
  return square && { size: square.M, lanes };
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
    if ((error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND') {
      throw new Error(`webgpu: the package webgpu is not installed; ${howToInstall()}`, { cause: error });
    }
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`webgpu: the package webgpu does not load here: ${reason}`, { cause: error });
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
    // Unsafe for what a web page may bring; needed for subgroup matrices.
    'enable-dawn-features=allow_unsafe_apis',
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
