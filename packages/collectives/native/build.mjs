#!/usr/bin/env node
/**
 * Builds the MPI binding with the compiler wrapper of the MPI that is here; runs when the package is installed and, if
 * there was none then, when ranks are first launched. Never fails an installation: without MPI one line says so.
 *
 * Debian puts a second MPI beside the first, with the family in the names of its commands: each gets a binding.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const buildDirectory = join(here, '..', 'build');
const source = join(here, 'mpi.cpp');
const say = (message) => console.error(`@meap/collectives: ${message}`);

/** The first wrapper that is here, and what it would run, which names the MPI: Open MPI and MPICH both know -show. */
function findCompiler(...candidates) {
  for (const compiler of candidates.filter(Boolean)) {
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

/** Whether a wrapper's MPI is Open MPI, which its header says, and not MPICH or what is made from it. */
function isOpenMpi({ compiler }) {
  try {
    const args = ['-E', '-dM', '-x', 'c++', '-include', 'mpi.h', '/dev/null'];
    return /^#define OPEN_MPI /m.test(execFileSync(compiler, args, { encoding: 'utf8', maxBuffer: 2 ** 26 }));
  } catch {
    return false;
  }
}

function build({ compiler, shown }, name) {
  const addon = join(buildDirectory, `${name}.node`);
  const stampFile = join(buildDirectory, `${name}.txt`);
  const stamp = createHash('sha256')
    .update([shown, process.arch, readFileSync(source)].join('\0'))
    .digest('hex');
  if (existsSync(addon) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return;
  const work = join(buildDirectory, `tmp-${process.pid}`);
  try {
    mkdirSync(work, { recursive: true });
    const headers = createRequire(import.meta.url)('node-api-headers').include_dir;
    const link =
      process.platform === 'darwin' ? ['-bundle', '-undefined', 'dynamic_lookup'] : ['-shared', '-pthread'];
    const out = join(work, `${name}.node`);
    const flags = '-std=gnu++17 -O3 -fPIC -Wall -Wextra -Wno-cast-function-type'.split(' ');
    execFileSync(compiler, [...flags, '-isystem', headers, ...link, source, '-o', out], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    // Ranks that build at once replace one whole file by another.
    renameSync(out, addon);
    writeFileSync(stampFile, stamp);
    say(`built the MPI binding with ${compiler}`);
  } catch (error) {
    const reason =
      String(error.stderr || error.message)
        .split('\n')
        .find((line) => /error/i.test(line)) ?? error.message;
    say(`the MPI binding did not build with ${compiler}: ${reason}`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const found = findCompiler(process.env.MPICXX, 'mpicxx', 'mpic++');
if (!found) {
  say('no MPI found (tried $MPICXX, mpicxx, mpic++): one process only; install Open MPI or MPICH for more');
  process.exit(0);
}
build(found, 'meap_mpi');
const [own, second] = isOpenMpi(found) ? ['openmpi', 'mpich'] : ['mpich', 'openmpi'];
rmSync(join(buildDirectory, `meap_mpi.${own}.node`), { force: true });
const other = findCompiler(`mpicxx.${second}`);
if (other) build(other, `meap_mpi.${second}`);
