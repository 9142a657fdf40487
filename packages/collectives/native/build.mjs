#!/usr/bin/env node
/**
 * Builds the MPI binding with the compiler wrapper of the MPI that is here; runs when the package is installed and, if
 * there was none then, when ranks are first launched. Never fails an installation: without MPI one line says so.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const buildDirectory = join(here, '..', 'build');
const addon = join(buildDirectory, 'meap_mpi.node');
const stampFile = join(buildDirectory, 'stamp.txt');
const say = (message) => console.error(`@meap/collectives: ${message}`);

/** The wrapper, and what it would run, which names the MPI: Open MPI and MPICH both know -show. */
function findCompiler() {
  for (const compiler of [process.env.MPICXX, 'mpicxx', 'mpic++'].filter(Boolean)) {
    try {
      const shown = execFileSync(compiler, ['-show'], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      return { compiler, shown };
    } catch {
      // Not here: the next one.
    }
  }
  return undefined;
}

const found = findCompiler();
if (!found) {
  say('no MPI found (tried $MPICXX, mpicxx, mpic++): one process only; install Open MPI or MPICH for more');
  process.exit(0);
}
const source = join(here, 'mpi.cpp');
const stamp = createHash('sha256')
  .update([found.shown, process.arch, readFileSync(source)].join('\0'))
  .digest('hex');
if (existsSync(addon) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) process.exit(0);

const work = join(buildDirectory, `tmp-${process.pid}`);
try {
  mkdirSync(work, { recursive: true });
  const headers = createRequire(import.meta.url)('node-api-headers').include_dir;
  const link =
    process.platform === 'darwin' ? ['-bundle', '-undefined', 'dynamic_lookup'] : ['-shared', '-pthread'];
  const out = join(work, 'meap_mpi.node');
  const flags = '-std=gnu++17 -O2 -fPIC -Wall -Wextra -Wno-cast-function-type'.split(' ');
  execFileSync(found.compiler, [...flags, '-isystem', headers, ...link, source, '-o', out], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  // Ranks that build at once replace one whole file by another.
  renameSync(out, addon);
  writeFileSync(stampFile, stamp);
  say(`built the MPI binding with ${found.compiler}`);
} catch (error) {
  const reason =
    String(error.stderr || error.message)
      .split('\n')
      .find((line) => /error/i.test(line)) ?? error.message;
  say(`the MPI binding did not build, one process only: ${reason}`);
} finally {
  rmSync(work, { recursive: true, force: true });
}
