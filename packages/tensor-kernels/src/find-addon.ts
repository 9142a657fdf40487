import { type NativeAddon, withNamedFields } from './addon-interface.ts';

/** The machine that {@link findAddon} looks for; by default this one. */
export interface Machine {
  platform: string;
  arch: string;
  /** The C library of Linux. */
  libc: 'gnu' | 'musl';
}

/**
 * Loads the addon for the module at a URL: the one compiled on this machine into the package's `build` folder, else the
 * one in the package of the platform, an optional dependency. Skips one that does not load.
 *
 * @throws Error that names everything tried, the reasons, and what to do
 */
export function findAddon(base: string, machine: Machine = thisMachine()): NativeAddon {
  const { createRequire } = process.getBuiltinModule('node:module');
  const { existsSync } = process.getBuiltinModule('node:fs');
  const { fileURLToPath } = process.getBuiltinModule('node:url');
  const require = createRequire(base);
  const tried: string[] = [];
  const attempt = (name: string, load: () => object): NativeAddon | undefined => {
    try {
      const addon = withNamedFields(load());
      // In a program without Node-API the addon is empty.
      if (typeof addon.instructionSets !== 'function') throw new Error('this program offers no Node-API');
      return addon;
    } catch (error) {
      tried.push(`${name}: ${(error as Error).message.split('\n')[0]}`);
      return undefined;
    }
  };

  const built = fileURLToPath(new URL('../build/meap_kernels.node', base));
  const own = existsSync(built) && attempt('build/meap_kernels.node', () => require(built));
  if (own) return own;
  const version = versionOf(require, '../package.json', '@meap/tensor-kernels');
  for (const name of platformPackages(machine)) {
    const addon = attempt(name, () => {
      const found = versionOf(require, `${name}/package.json`, name);
      if (found === undefined) throw new Error('not installed');
      // Unknown in a bundle.
      if (version && found !== version) throw new Error(`its version is ${found}, expected ${version}`);
      return require(name);
    });
    if (addon) return addon;
  }
  throw new Error(
    `native: no kernels for ${machine.platform} on ${machine.arch} (${tried.join('; ')}); install again with optional ` +
      'dependencies and without a lockfile or node_modules from another system, or compile them with `npx meap-build`',
  );
}

function versionOf(require: NodeJS.Require, path: string, expected: string): string | undefined {
  try {
    const { name, version } = require(path);
    return name === expected ? version : undefined;
  } catch {
    return undefined;
  }
}

/** The packages that may hold the binary, the likeliest first: package managers may install both of Linux. */
function platformPackages({ platform, arch, libc }: Machine): string[] {
  const name = `@meap/tensor-kernels-${platform}-${arch}`;
  if (platform !== 'linux') return [name];
  return (libc === 'musl' ? ['musl', 'gnu'] : ['gnu', 'musl']).map((suffix) => `${name}-${suffix}`);
}

function thisMachine(): Machine {
  const { platform, arch } = process;
  return { platform, arch, libc: platform === 'linux' ? libcOf(mappedFiles()) : 'gnu' };
}

/** Returns the C library among the files mapped into a process; Bun and Deno have no `process.report`. */
export function libcOf(maps: string): Machine['libc'] {
  if (/\/libc(\.so\.6|-2\.\d+\.so)$/m.test(maps)) return 'gnu';
  return /\/(ld-musl-[^/]*|libc)\.so(\.1)?$/m.test(maps) ? 'musl' : 'gnu';
}

function mappedFiles(): string {
  try {
    return process.getBuiltinModule('node:fs').readFileSync('/proc/self/maps', 'utf8');
  } catch {
    return '';
  }
}
