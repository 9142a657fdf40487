import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheDirectory } from './cache-directory.ts';
import { PluginError } from './errors.ts';

const sources = fileURLToPath(new URL('../native', import.meta.url));
const FLAGS = '-std=gnu++17 -O1 -fPIC -fvisibility=hidden -Wall -Wextra -Wno-cast-function-type'.split(' ');

/** Returns the path of the addon in the user's cache; it depends on the sources, so that versions can coexist. */
export function addonPath(): string {
  const hash = createHash('sha256').update(`${process.platform} ${process.arch} ${FLAGS}`);
  const files = readdirSync(sources, { recursive: true, encoding: 'utf8' }).sort();
  for (const file of files.filter((name) => /\.(cpp|h)$/.test(name))) {
    hash.update(`\0${file}\0`).update(readFileSync(join(sources, file)));
  }
  return join(cacheDirectory(), `addon-${hash.digest('hex').slice(0, 16)}`, 'meap_pjrt.node');
}

/**
 * Compiles the addon into the user's cache with $CXX, c++, g++ or clang++.
 *
 * @returns its path
 * @throws PluginError without a compiler, with the compiler's first error, or on Windows
 */
export function buildAddon(): string {
  if (process.platform === 'win32') {
    throw new PluginError('UNIMPLEMENTED', 'pjrt: there are no PJRT plugins for Windows; use WSL');
  }
  const compiler = [process.env.CXX, 'c++', 'g++', 'clang++'].find((name) => name && isInstalled(name));
  if (!compiler) {
    throw new PluginError(
      'FAILED_PRECONDITION',
      'pjrt: the addon is compiled on first use and there is no C++17 compiler (tried $CXX, c++, g++, clang++); install one',
    );
  }
  const path = addonPath();
  const directory = join(path, '..');
  mkdirSync(directory, { recursive: true });
  const work = mkdtempSync(join(directory, 'build-'));
  try {
    const headers = createRequire(import.meta.url)('node-api-headers').include_dir;
    const link =
      process.platform === 'darwin'
        ? ['-bundle', '-undefined', 'dynamic_lookup']
        : ['-shared', '-pthread', '-ldl'];
    const files = ['addon.cpp', 'tasks.cpp', 'plugin.cpp'];
    const out = join(work, 'meap_pjrt.node');
    execFileSync(compiler, [...FLAGS, '-isystem', headers, ...files, ...link, '-o', out], {
      cwd: sources,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    // Atomic: other processes may build or load it at the same time.
    renameSync(out, path);
    return path;
  } catch (cause) {
    const text = String((cause as { stderr?: string }).stderr || (cause as Error).message);
    const reason = text.split('\n').find((line) => /error/i.test(line)) ?? text;
    throw new PluginError('INTERNAL', `pjrt: the addon did not compile with ${compiler}: ${reason}`, {
      cause,
    });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Whether the addon of these sources has been compiled. */
export function isAddonBuilt(): boolean {
  return existsSync(addonPath());
}

function isInstalled(compiler: string): boolean {
  try {
    execFileSync(compiler, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
