import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDirectory } from './cache-directory.ts';
import { PluginError } from './errors.ts';
import { compareVersions } from './wheels.ts';

/** A plugin's library on this machine. */
export interface FoundPlugin {
  /** Such as `cpu`, `cuda13` or `tpu`. */
  readonly name: string;
  readonly path: string;
  /** The environment variable, the active Python environment, or `meap-pjrt install`. */
  readonly source: 'MEAP_PJRT_PLUGIN' | 'python' | 'installed';
  /** The version of the package, if it was installed. */
  readonly version?: string;
}

/** Returns the folder of installed plugins. */
export function pluginsDirectory(): string {
  return join(cacheDirectory(), 'plugins');
}

/** The file that is written last into the folder of an installed plugin. */
export const MANIFEST = 'plugin.json';

/** Finds plugins: `MEAP_PJRT_PLUGIN`, then the active Python environment, then installed ones, newest first. */
export async function findPlugins(): Promise<FoundPlugin[]> {
  const { MEAP_PJRT_PLUGIN: path } = process.env;
  const selected: FoundPlugin[] = path ? [{ name: nameOf(path), path, source: 'MEAP_PJRT_PLUGIN' }] : [];
  const python = (await sitePackages()).flatMap((folder) =>
    librariesIn(folder).map((path): FoundPlugin => ({ name: nameOf(path), path, source: 'python' })),
  );
  return [...selected, ...python, ...installedPlugins()];
}

/**
 * Returns the path of the first plugin that {@link findPlugins} finds.
 *
 * @param name such as `cpu` or `cuda13`; `cuda` finds any version; by default any plugin
 * @throws PluginError that says where it looked and how to install one
 */
export async function findPlugin(name?: string): Promise<string> {
  const found = await findPlugins();
  const match = found.find((one) => !name || one.name === name || one.name.replace(/\d+$/, '') === name);
  if (match) return match.path;
  const others = found.length > 0 ? ` (found: ${found.map((one) => one.name).join(', ')})` : '';
  throw new PluginError(
    'NOT_FOUND',
    `findPlugin: no ${name ?? 'PJRT'} plugin in MEAP_PJRT_PLUGIN, the Python environment and ${pluginsDirectory()}` +
      `${others}; install one with: npx meap-pjrt install ${name ?? 'cpu'}`,
  );
}

/** Returns the plugins that were installed, newest first. */
export function installedPlugins(): FoundPlugin[] {
  const folders = list(pluginsDirectory()).filter((name) => !name.startsWith('.'));
  const found = folders.flatMap((folder): FoundPlugin[] => {
    try {
      const text = readFileSync(join(pluginsDirectory(), folder, MANIFEST), 'utf8');
      const { name, version, library } = JSON.parse(text);
      return [{ name, version, path: join(pluginsDirectory(), folder, library), source: 'installed' }];
    } catch {
      return [];
    }
  });
  return found.sort((a, b) => compareVersions(b.version!, a.version!));
}

/** Returns the libraries of plugins in a folder laid out as Python's site-packages. */
export function librariesIn(sitePackages: string): string[] {
  const folders = ['jax_plugins', 'xla_plugins'].flatMap((kind) =>
    list(join(sitePackages, kind)).map((name) => join(sitePackages, kind, name)),
  );
  return [...folders, join(sitePackages, 'libtpu')].flatMap((folder) =>
    list(folder)
      .filter((file) => /(plugin|pjrt|^libtpu).*\.(so|dylib)$/.test(file))
      .map((file) => join(folder, file)),
  );
}

/** Returns a plugin's name from its path: of `jax_plugins/xla_cuda13/xla_cuda_plugin.so`, `cuda13`. */
function nameOf(path: string): string {
  const folder = basename(dirname(path));
  const known = /(?:cuda|rocm|oneapi)\d*|cpu|tpu|metal/;
  return (known.exec(folder) ?? known.exec(basename(path)))?.[0] ?? basename(path).replace(/\.\w+$/, '');
}

function list(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** The folders of packages of the active Python environment: virtualenv, conda, else that of `python3`. */
async function sitePackages(): Promise<string[]> {
  const prefix = process.env.VIRTUAL_ENV || process.env.CONDA_PREFIX;
  if (prefix) {
    const versions = list(join(prefix, 'lib')).filter((name) => /^python3\.\d+$/.test(name));
    return versions.map((name) => join(prefix, 'lib', name, 'site-packages'));
  }
  const code =
    'import site, sysconfig; print("\\n".join({sysconfig.get_path("platlib"), sysconfig.get_path("purelib"), site.getusersitepackages()}))';
  try {
    const { stdout } = await promisify(execFile)('python3', ['-c', code], { timeout: 10_000 });
    return stdout.trim().split('\n');
  } catch {
    return [];
  }
}
