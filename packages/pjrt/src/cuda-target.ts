import { PjrtError } from './errors.ts';
import type { PluginOptions } from './plugin.ts';

/** A GPU that {@link cudaTarget} describes. */
export type CudaGpu = 'h100' | 'h200';

/** What XLA's compiler asks about NVIDIA's GPUs, from their data sheets and CUDA's device properties. */
const GPUS: Record<CudaGpu, { description: string; memoryBytes: number; bytesPerSecond: number }> = {
  h100: { description: 'NVIDIA H100 80GB HBM3', memoryBytes: 80e9, bytesPerSecond: 3.35e12 },
  h200: { description: 'NVIDIA H200', memoryBytes: 141e9, bytesPerSecond: 4.8e12 },
};
/** What both have, as chips of the architecture Hopper in the SXM form. */
const HOPPER = {
  threads_per_block_limit: 1024,
  threads_per_warp: 32,
  shared_memory_per_block: 49_152,
  shared_memory_per_core: 233_472,
  shared_memory_per_block_optin: 232_448,
  threads_per_core_limit: 2048,
  core_count: 132,
  fpus_per_core: 128,
  block_dim_limit_x: 2 ** 31 - 1,
  block_dim_limit_y: 65_535,
  block_dim_limit_z: 65_535,
  l2_cache_size: 50 * 2 ** 20,
  clock_rate_ghz: 1.98,
  registers_per_core_limit: 65_536,
  registers_per_block_limit: 65_536,
};

/**
 * Returns the options with which `createTopology` of the CUDA plugin describes GPUs of one host that need not be there.
 *
 * @throws PjrtError for an unknown GPU
 */
export function cudaTarget(gpu: CudaGpu, numDevices = 1): PluginOptions {
  if (!Object.hasOwn(GPUS, gpu)) {
    throw new PjrtError(
      'INVALID_ARGUMENT',
      `cudaTarget: got '${gpu}', expected one of ${Object.keys(GPUS).join(', ')}`,
    );
  }
  const { description, memoryBytes, bytesPerSecond } = GPUS[gpu];
  const numbers = Object.entries({
    ...HOPPER,
    memory_bandwidth: bytesPerSecond,
    device_memory_size: memoryBytes,
  });
  // A GpuTargetConfigProto as text: XLA chooses among the kernels of these versions of CUDA and cuDNN.
  const config = [
    `gpu_device_info { ${numbers.map(([name, value]) => `${name}: ${value}`).join(' ')}`,
    '  cuda_compute_capability { major: 9 } }',
    'platform_name: "CUDA"',
    'runtime_version { major: 13 }',
    'dnn_version_info { major: 9 minor: 12 }',
    `device_description_str: "${description}"`,
  ];
  // Hosts, processes of each, devices of each.
  return { topology: `1x1x${numDevices}`, target_config: config.join('\n') };
}
