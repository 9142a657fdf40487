/// <reference lib="esnext.disposable" preserve="true" />
import { type Addon, type DeviceDescription, loadAddon } from './addon.ts';
import { type CompileOptions, encodeCompileOptions, encodeProgram } from './compile-options.ts';
import { named } from './errors.ts';
import { Executable } from './executable.ts';
import { handleOf, own, release } from './handles.ts';
import type { PluginFacts } from './plugin-facts.ts';

/** Devices that need not be there, to compile programs for them. */
export class Topology {
  readonly plugin: PluginFacts;
  readonly platformName: string;
  readonly platformVersion: string;
  readonly devices: readonly DeviceDescription[];

  /** @internal Use `plugin.createTopology`. */
  constructor(plugin: PluginFacts, info: Awaited<ReturnType<Addon['createTopology']>>) {
    this.plugin = plugin;
    this.platformName = info.platformName;
    this.platformVersion = info.platformVersion;
    this.devices = info.devices;
    own(this, info.handle);
  }

  /**
   * Compiles a program, StableHLO as text or bytecode, without a device. A client of such devices loads the result.
   *
   * @throws PjrtError with the compiler's text
   */
  async compile(program: string | Uint8Array, options: CompileOptions = {}): Promise<Executable> {
    const code = encodeProgram(program);
    const encoded = encodeCompileOptions(options, program);
    const handle = handleOf(this, 'compile');
    const info = await named('compile', () => loadAddon().compileAhead(handle, code, 'mlir', encoded));
    return new Executable(info);
  }

  /** Releases the description; executables remain usable. */
  dispose(): void {
    release(this);
  }

  /** The same, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
