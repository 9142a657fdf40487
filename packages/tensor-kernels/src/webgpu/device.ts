/** Finds a GPU: `navigator.gpu` in a browser, Dawn (the npm package `webgpu`) in Node. */
import { installCommand } from '../install-command.ts';

/** A GPU and its properties. */
export interface GpuDevice {
  device: GPUDevice;
  info: GPUAdapterInfo;
  /** Vendor, architecture, device and driver, as the adapter reports them. */
  description: string;
  /** Whether kernels can use float16 (`shader-f16`). */
  hasFloat16: boolean;
  /** Largest number of lanes of a subgroup; 0 if kernels cannot use subgroups. */
  largestSubgroup: number;
  /** Matrix units, if kernels can use them. */
  subgroupMatrix?: SubgroupMatrix;
  /** Whether it is a software rasterizer, far slower than the native kernels. */
  isSoftware: boolean;
}

/** Products of a GPU's matrix units: square float16 matrices with float32 sums, by subgroups of `lanes` lanes. */
export interface SubgroupMatrix {
  size: number;
  lanes: number;
}

/** Limits whose defaults are lower than those of most GPUs. */
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

/** Node has no `navigator` before version 21. */
const host = globalThis as { navigator?: { gpu?: GPU } };

/** The command that installs WebGPU for Node, 150 MB for all platforms. */
export const howToInstall = () => `run ${installCommand(['webgpu', '@tensorflow/tfjs-backend-webgpu'])}`;

/**
 * Requests a device with the full limits of the adapter. In Node `MEAP_GPU_ADAPTER` selects one of several adapters by a
 * part of its name.
 *
 * @throws Error if there is no WebGPU or no such adapter; lists the adapters
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

/** Kernels combine subgroups in the order of their ids, which WGSL gained later than subgroups. */
function largestSubgroup(gpu: GPU, device: GPUDevice, info: GPUAdapterInfo): number {
  const hasIds = (gpu.wgslLanguageFeatures as ReadonlySet<string>).has('subgroup_id');
  if (!hasIds || !device.features.has('subgroups' as GPUFeatureName)) return 0;
  return (info as SubgroupInfo).subgroupMaxSize;
}

interface SubgroupInfo extends GPUAdapterInfo {
  subgroupMinSize: number;
  subgroupMaxSize: number;
  subgroupMatrixConfigs?: (Record<'componentType' | 'resultComponentType', string> &
    Record<'M' | 'N' | 'K', number>)[];
}

/** Bytes of workgroup memory that products with subgroup matrices use. */
const MATRIX_WORKGROUP_BYTES = 24 << 10;

/** The quarters of a tile belong to four subgroups, so their size must be fixed. */
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
    throw new Error('webgpu: this browser has no WebGPU; use another browser or backend');
  }
  let dawn: typeof import('webgpu');
  try {
    // Not a literal, so that bundlers for browsers skip it.
    const name = 'webgpu';
    dawn = await import(/* @vite-ignore */ name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND') {
      throw new Error(`webgpu: the package webgpu is not installed; ${howToInstall()}`, { cause: error });
    }
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`webgpu: the package webgpu does not load here: ${reason}`, { cause: error });
  }
  // TensorFlow.js reads the classes of WebGPU and `navigator.gpu` as in a browser.
  Object.assign(globalThis, dawn.globals);
  const gpu = dawn.create(dawnFlags());
  if (!host.navigator) Object.defineProperty(host, 'navigator', { value: {}, configurable: true });
  Object.defineProperty(host.navigator, 'gpu', { value: gpu, configurable: true });
  return gpu;
}

function dawnFlags(): string[] {
  const { MEAP_GPU_ADAPTER } = process.env;
  const disabled = [
    // A kernel may run for less than the resolution of browsers.
    'timestamp_quantization',
    // Workgroup memory is zeroed by a loop instead: SwiftShader unrolls the extension and compiles for seconds a kernel.
    'use_vulkan_zero_initialize_workgroup_memory_extension',
  ];
  return [
    `disable-dawn-features=${disabled}`,
    // Needed for subgroup matrices; unsafe only for untrusted web pages.
    'enable-dawn-features=allow_unsafe_apis',
    ...(process.platform === 'linux' ? ['backend=vulkan'] : []),
    ...(MEAP_GPU_ADAPTER ? [`adapter=${MEAP_GPU_ADAPTER}`] : []),
  ];
}

async function requestAdapter(gpu: GPU): Promise<GPUAdapter | null> {
  try {
    return await gpu.requestAdapter({ powerPreference: 'high-performance' });
  } catch (error) {
    // Dawn's message lists the adapters.
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`webgpu: MEAP_GPU_ADAPTER: ${reason}`, { cause: error });
  }
}
