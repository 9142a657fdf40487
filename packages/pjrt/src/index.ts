export type {
  CompiledMemoryStats,
  DeviceDescription,
  DeviceMemoryStats,
  NamedValue,
} from './addon.ts';
export { cacheDirectory } from './cache-directory.ts';
export type { Client, ClientCompileOptions, PutOptions } from './client.ts';
export { type CollectiveTraffic, collectiveTraffic } from './collectives.ts';
export type { CompileOptions } from './compile-options.ts';
export { type CudaGpu, cudaTarget } from './cuda-target.ts';
export type { Device, DeviceClient } from './device.ts';
export type { DeviceBuffer } from './device-buffer.ts';
export { type DeviceTarget, deviceTarget } from './device-targets.ts';
export type { ElementType, HostArray, HostArrays, TensorType } from './element-types.ts';
export { PjrtError, type PjrtErrorCode, PluginError } from './errors.ts';
export type { Executable } from './executable.ts';
export { type FoundPlugin, findPlugin, findPlugins } from './find-plugins.ts';
export type { HloComputation, HloInstruction, HloModule } from './hlo-module.ts';
export type { ExecuteOptions, LoadedExecutable } from './loaded-executable.ts';
export { loadPlugin, type Plugin, type PluginOptions } from './plugin.ts';
export type { PluginFacts } from './plugin-facts.ts';
export * as stablehlo from './stablehlo/index.ts';
export type { Topology } from './topology.ts';
