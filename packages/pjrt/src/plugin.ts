import { existsSync, realpathSync, statSync } from 'node:fs';
import { loadAddon, type NamedValue } from './addon.ts';
import { Client } from './client.ts';
import { named, PjrtError, PluginError } from './errors.ts';
import { handleOf, own } from './handles.ts';
import type { PluginFacts } from './plugin-facts.ts';
import { Topology } from './topology.ts';

/** Options of a plugin's client or topology; each plugin documents its own. Whole numbers are passed as integers. */
export type PluginOptions = Readonly<Record<string, NamedValue>>;

/** A PJRT plugin: a library with XLA's compiler and runtime for one kind of device. It stays loaded. */
export class Plugin implements PluginFacts {
  readonly path: string;
  readonly version: PluginFacts['version'];
  readonly attributes: PluginFacts['attributes'];

  /** @internal Use {@link loadPlugin}. */
  constructor(path: string) {
    const addon = loadAddon();
    const { handle, version, attributes } = addon.loadPlugin(path);
    own(this, handle);
    this.path = path;
    this.version = { major: version[0], minor: version[1] };
    this.attributes = attributes;
  }

  /**
   * Connects to the devices of this machine.
   *
   * @param options such as `cpu_device_count: 4` of the CPU plugin, `memory_fraction: 0.75` of CUDA
   * @throws PjrtError with the plugin's text, for example where there is no device
   */
  async createClient(options: PluginOptions = {}): Promise<Client> {
    const info = await named('createClient', () =>
      loadAddon().createClient(handleOf(this, 'createClient'), Object.entries(options)),
    );
    return new Client(this, info);
  }

  /**
   * Describes devices that need not be there, to compile for them.
   *
   * @param name such as `v5e:2x2x1` for TPUs; CUDA takes the options `topology` and `target_config` instead
   * @throws PjrtError with the plugin's text
   */
  async createTopology(name: string, options: PluginOptions = {}): Promise<Topology> {
    const info = await named('createTopology', () =>
      loadAddon().createTopology(handleOf(this, 'createTopology'), name, Object.entries(options)),
    );
    return new Topology(this, info);
  }

  /** @internal */
  get fingerprint(): string {
    const { size, mtimeMs } = statSync(this.path);
    return JSON.stringify([this.version, this.attributes, size, mtimeMs]);
  }
}

/**
 * Loads a plugin from its file, once per process.
 *
 * Blocks for some tenths of a second, and for several seconds when the addon is compiled on first use. Sets
 * `TF_CPP_MIN_LOG_LEVEL=1`, unless it is set, so that XLA reports only warnings.
 *
 * @throws PluginError if the file is missing, is not a plugin, or speaks another major version of PJRT
 */
export function loadPlugin(path: string): Plugin {
  if (!existsSync(path)) {
    throw new PluginError('NOT_FOUND', `loadPlugin: ${path}: there is no such file`);
  }
  // As JAX does: without it XLA reports its progress on stderr.
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '1';
  try {
    return new Plugin(realpathSync(path));
  } catch (error) {
    if (!(error instanceof PjrtError) || error instanceof PluginError) throw error;
    throw new PluginError(error.code, `loadPlugin: ${path}: ${error.message}`);
  }
}
