/// <reference lib="esnext.disposable" preserve="true" />
import { type CompiledMemoryStats, type ExecutableInfo, loadAddon } from './addon.ts';
import { named, PjrtError } from './errors.ts';
import { handleOf, own, release } from './handles.ts';
import { type HloModule, readHloModule } from './hlo-module.ts';

/** A compiled program. */
export class Executable {
  /** The name of the program's module. */
  readonly name: string;
  /** The number of outputs on each device. */
  readonly numOutputs: number;

  /** @internal Use `compile`. */
  constructor({ handle, name, numOutputs }: ExecutableInfo) {
    this.name = name;
    this.numOutputs = numOutputs;
    own(this, handle);
  }

  /**
   * Returns the bytes that one execution needs on each device.
   *
   * @throws PjrtError from plugins that do not report it
   */
  memoryStats(): CompiledMemoryStats {
    const handle = handleOf(this, 'memoryStats');
    return named('memoryStats', () => loadAddon().compiledMemoryStats(handle));
  }

  /**
   * Estimates costs of one execution: `flops`, `bytes accessed` and others by name.
   *
   * @throws PjrtError from plugins that do not report it
   */
  async costAnalysis(): Promise<Record<string, number>> {
    const handle = handleOf(this, 'costAnalysis');
    return await named('costAnalysis', () => loadAddon().costAnalysis(handle));
  }

  /**
   * Returns the program that runs on each device, as XLA has optimized and partitioned it.
   *
   * @throws PjrtError from plugins that do not return it as HLO
   */
  async optimizedProgram(): Promise<HloModule> {
    const handle = handleOf(this, 'optimizedProgram');
    const { format, code } = await named('optimizedProgram', () => loadAddon().optimizedProgram(handle));
    if (format === 'hlo' || format === 'hlo_with_config') return readHloModule(code, format);
    throw new PjrtError('UNIMPLEMENTED', `optimizedProgram: got the format ${format}, expected hlo`);
  }

  /**
   * Returns the executable as bytes that a client of the same version of the plugin loads.
   *
   * @throws PjrtError from plugins that cannot
   */
  async serialize(): Promise<Uint8Array> {
    const handle = handleOf(this, 'serialize');
    return await named('serialize', () => loadAddon().serialize(handle));
  }

  /** Frees the compiled code when executions have ended. */
  dispose(): void {
    release(this);
  }

  /** The same, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
