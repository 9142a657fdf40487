/** What scripts share that publish the packages to a registry on loopback and install them from there. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { startRegistry } from './loopback-registry.mjs';

export const root = resolve(import.meta.dirname, '..');
const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** Runs a program and returns its output. */
export function run(cwd, env, command, ...args) {
  const options = { cwd, env, encoding: 'utf8', maxBuffer: 2 ** 28, stdio: ['ignore', 'pipe', 'pipe'] };
  return execFileSync(command, args, options);
}

/** Runs the pnpm of this repository. */
export const pnpm = (cwd, env, ...args) => run(cwd, env, 'npx', '-y', packageManager, ...args);

/** Name, path and version of every package in a clone that is published. */
export function publicPackages(cwd) {
  const listed = JSON.parse(pnpm(cwd, process.env, 'list', '--recursive', '--depth', '-1', '--json'));
  return listed.filter((entry) => !entry.private).map(({ name, path, version }) => ({ name, path, version }));
}

/** Whether a package holds the kernels of one platform. */
export const isForPlatform = ({ name }) => /^@meap\/tensor-kernels-./.test(name);

/** A temporary folder for everything that a script writes. */
export const work = mkdtempSync(join(tmpdir(), 'meap-rehearsal-'));

/** A path inside a program that {@link rehearse} installed. */
export const tool = (name, ...path) => join(work, 'tools/node_modules', name, ...path);

/**
 * Installs programs from npm, starts a registry, calls `body` with it, and removes everything. An error is printed with
 * the output of the program that failed, and sets the exit code.
 *
 * @param tools npm dependencies that are programs
 */
export async function rehearse(tools, body) {
  let registry;
  try {
    const folder = join(work, 'tools');
    mkdirSync(folder);
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies: tools }));
    run(folder, process.env, 'npm', 'install', '--no-audit', '--no-fund', '--ignore-scripts', '--force');
    registry = await startRegistry(work);
    await body(registry);
  } catch (error) {
    console.error(error.stdout ?? '', error.stderr ?? '', error.message);
    process.exitCode = 1;
  } finally {
    registry?.stop();
    rmSync(work, { recursive: true, force: true });
  }
}
