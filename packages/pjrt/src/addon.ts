import { createRequire } from 'node:module';
import { isMainThread } from 'node:worker_threads';
import { addonPath, buildAddon, isAddonBuilt } from './build-addon.ts';
import type { HostArray } from './element-types.ts';
import { PjrtError } from './errors.ts';

/** An object of the addon, until it is released. */
export type Handle = { readonly external: unique symbol };

/** A value of an option or an attribute of PJRT. */
export type NamedValue = string | number | boolean | number[];

/** What a device says about itself. */
export interface DeviceDescription {
  readonly id: number;
  /** The process that the device belongs to. */
  readonly processIndex: number;
  /** Such as `NVIDIA H200` or `TPU v5 lite`. */
  readonly kind: string;
  readonly description: string;
  readonly attributes: Readonly<Record<string, NamedValue>>;
}

/** Bytes on a device; those that the plugin does not report are missing. */
export interface DeviceMemoryStats {
  bytesInUse: number;
  peakBytesInUse?: number;
  numAllocations?: number;
  largestAllocation?: number;
  /** The most that can be allocated. */
  bytesLimit?: number;
  bytesReserved?: number;
  largestFreeBlock?: number;
  poolBytes?: number;
}

/** Bytes that one execution needs on each device, known after compilation. */
export interface CompiledMemoryStats {
  arguments: number;
  outputs: number;
  /** How much of the outputs is in the memory of donated arguments. */
  aliased: number;
  temporary: number;
  generatedCode: number;
  /** The most at any time; 0 from plugins that do not report it. */
  peak: number;
}

export interface ExecutableInfo {
  handle: Handle;
  name: string;
  numOutputs: number;
  deviceIds: number[];
}

interface PlatformInfo {
  handle: Handle;
  platformName: string;
  platformVersion: string;
  devices: DeviceDescription[];
}

/** The functions of native/addon.cpp. */
export interface Addon {
  initialize(errorClass: typeof PjrtError, isMainThread: boolean): void;
  exiting(code: number): void;
  loadPlugin(path: string): {
    handle: Handle;
    version: [major: number, minor: number];
    attributes: Record<string, NamedValue>;
  };
  release(handle: Handle): void;
  releaseApart(handle: Handle): Promise<void>;
  createClient(
    plugin: Handle,
    options: [string, NamedValue][],
  ): Promise<PlatformInfo & { processIndex: number }>;
  createTopology(plugin: Handle, name: string, options: [string, NamedValue][]): Promise<PlatformInfo>;
  deviceMemoryStats(client: Handle, deviceIndex: number): DeviceMemoryStats;
  compile(client: Handle, code: Uint8Array, format: string, options: Uint8Array): Promise<ExecutableInfo>;
  compileAhead(
    topology: Handle,
    code: Uint8Array,
    format: string,
    options: Uint8Array,
  ): Promise<ExecutableInfo>;
  serialize(executable: Handle): Promise<Uint8Array>;
  deserialize(client: Handle, bytes: Uint8Array): Promise<ExecutableInfo>;
  optimizedProgram(executable: Handle): Promise<{ format: string; code: Uint8Array }>;
  costAnalysis(executable: Handle): Promise<Record<string, number>>;
  compiledMemoryStats(executable: Handle): CompiledMemoryStats;
  put(
    client: Handle,
    deviceIndex: number,
    data: HostArray,
    type: number,
    shape: readonly number[],
  ): Promise<Handle>;
  read(buffer: Handle, into: HostArray): Promise<void>;
  ready(buffer: Handle): Promise<void>;
  copyToDevice(buffer: Handle, deviceIndex: number): Promise<Handle>;
  describeBuffer(buffer: Handle): { type: number; shape: number[]; deviceId: number };
  isDonated(buffer: Handle): boolean;
  execute(
    executable: Handle,
    argumentsOfDevices: readonly (readonly Handle[])[],
    kept: readonly number[],
  ): Promise<Handle[][]>;
}

let loaded: Addon | undefined;

/**
 * Loads the addon; compiles it first if these sources have not been compiled on this machine, which takes seconds.
 *
 * @throws PluginError if it cannot be compiled
 */
export function loadAddon(): Addon {
  if (loaded) return loaded;
  const require = createRequire(import.meta.url);
  if (!isAddonBuilt()) buildAddon();
  let addon: Addon;
  try {
    addon = require(addonPath());
  } catch {
    // A cache in a home directory that machines with different C libraries share.
    addon = require(buildAddon());
  }
  addon.initialize(PjrtError, isMainThread);
  if (isMainThread) process.once('exit', (code) => addon.exiting(code));
  loaded = addon;
  return addon;
}
