/// <reference lib="esnext.disposable" preserve="true" />
import { type Addon, loadAddon } from './addon.ts';
import { type CompileOptions, encodeCompileOptions, encodeProgram } from './compile-options.ts';
import { Device, type DeviceClient } from './device.ts';
import { DeviceBuffer } from './device-buffer.ts';
import { defaultTypeOf, ELEMENT_TYPES, type ElementType, type HostArray, sizeOf } from './element-types.ts';
import { named, PjrtError } from './errors.ts';
import { ExecutableCache } from './executable-cache.ts';
import { handleOf, own, releaseApart } from './handles.ts';
import { LoadedExecutable } from './loaded-executable.ts';
import type { PluginFacts } from './plugin-facts.ts';

/** How an array is put on a device. */
export interface PutOptions {
  /** By default one dimension. */
  readonly shape?: readonly number[];
  /** By default that of the typed array; required for `bool`, `float16` and `bfloat16`. */
  readonly type?: ElementType;
  /** By default the first. */
  readonly device?: Device;
}

/** How a program is compiled and cached. */
export interface ClientCompileOptions extends CompileOptions {
  /** A folder in which executables are kept and found again; it may be shared by processes. By default none. */
  readonly cacheDirectory?: string;
}

/** A connection to the devices of this process. */
export class Client implements DeviceClient {
  readonly plugin: PluginFacts;
  /** Such as `cpu`, `cuda` or `tpu`. */
  readonly platformName: string;
  /** Such as the version of CUDA or of libtpu. */
  readonly platformVersion: string;
  readonly processIndex: number;
  /** The devices that this process can use. */
  readonly devices: readonly Device[];

  /** @internal Use `plugin.createClient`. */
  constructor(plugin: PluginFacts, info: Awaited<ReturnType<Addon['createClient']>>) {
    this.plugin = plugin;
    this.platformName = info.platformName;
    this.platformVersion = info.platformVersion;
    this.processIndex = info.processIndex;
    this.devices = info.devices.map((device, index) => new Device(this, index, device));
    own(this, info.handle);
  }

  /**
   * Copies an array to a device.
   *
   * @returns the buffer, when `data` may be changed again; until then it must not be changed, nor its memory transferred
   * @throws PjrtError for a shape or a type that is not that of the array
   */
  async put(data: HostArray, options: PutOptions = {}): Promise<DeviceBuffer> {
    const { shape = [data.length], type = defaultTypeOf(data), device = this.devices[0] } = options;
    const expected = ELEMENT_TYPES[type].array;
    if (data.constructor !== expected) {
      invalid(`put: got ${data.constructor.name} for ${type}, expected ${expected.name}`);
    }
    if (!shape.every((length) => Number.isInteger(length) && length >= 0) || sizeOf(shape) !== data.length) {
      invalid(`put: got ${data.length} elements for the shape [${shape}], which has ${sizeOf(shape)}`);
    }
    if (device.client !== this) invalid('put: got a device of another client');
    const handle = handleOf(this, 'put');
    const { pjrt } = ELEMENT_TYPES[type];
    const buffer = await named('put', () => loadAddon().put(handle, device.index, data, pjrt, shape));
    return new DeviceBuffer(device, { type, shape: [...shape] }, buffer);
  }

  /**
   * Compiles a program, StableHLO as text or bytecode, on a thread of its own.
   *
   * @throws PjrtError with the compiler's text
   */
  async compile(program: string | Uint8Array, options: ClientCompileOptions = {}): Promise<LoadedExecutable> {
    const code = encodeProgram(program);
    const encoded = encodeCompileOptions(options, program);
    const handle = handleOf(this, 'compile');
    const cache = options.cacheDirectory
      ? new ExecutableCache(options.cacheDirectory, [this.fingerprint, encoded, code])
      : undefined;
    const stored = await cache?.read();
    if (stored) {
      try {
        return await LoadedExecutable.create(
          this.devices,
          await loadAddon().deserialize(handle, stored),
          true,
        );
      } catch (error) {
        // From a damaged file, or one that this plugin refuses: compile again.
        if (!(error instanceof PjrtError)) throw error;
      }
    }
    const info = await named('compile', () => loadAddon().compile(handle, code, 'mlir', encoded));
    const executable = await LoadedExecutable.create(this.devices, info, false);
    if (cache) await cache.write(() => executable.serialize());
    return executable;
  }

  /**
   * Loads an executable that `serialize` of the same version of the plugin returned.
   *
   * @throws PjrtError with the plugin's text
   */
  async load(serialized: Uint8Array): Promise<LoadedExecutable> {
    const handle = handleOf(this, 'load');
    const info = await named('load', () => loadAddon().deserialize(handle, serialized));
    return LoadedExecutable.create(this.devices, info, false);
  }

  /** @internal What executables of this client depend on, for cache keys. */
  get fingerprint(): string {
    const { platformName, platformVersion, devices, plugin } = this;
    const described = devices.map(({ id, kind, attributes, processIndex }) => [
      id,
      kind,
      attributes,
      processIndex,
    ]);
    return JSON.stringify([plugin.fingerprint, platformName, platformVersion, described]);
  }

  /** Ends the connection when its buffers and executables are disposed of as well. */
  dispose(): Promise<void> {
    return releaseApart(this);
  }

  /** The same, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

function invalid(message: string): never {
  throw new PjrtError('INVALID_ARGUMENT', message);
}
