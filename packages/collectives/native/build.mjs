#!/usr/bin/env node
/**
 * `npx meap-build-mpi` compiles the MPI binding with the machine's MPI compiler wrapper. Ranks run it when they are first
 * launched. With `--if-possible`, a missing MPI is reported in one line and the exit code is 0.
 *
 * Debian installs a second MPI with suffixed command names: each MPI gets a binding.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const buildDirectory = join(here, '..', 'build');
const source = join(here, 'mpi.cpp');
const args = process.argv.slice(2);
const isOptional = args.includes('--if-possible');
const unknown = args.find((arg) => arg !== '--if-possible');
if (unknown !== undefined) {
  const isHelp = unknown === '--help' || unknown === '-h';
  const usage =
    'usage: meap-build-mpi [--if-possible]: compiles the MPI binding with $MPICXX, mpicxx or mpic++';
  console.log(isHelp ? usage : `meap-build-mpi: unknown argument, got '${unknown}'\n${usage}`);
  process.exit(isHelp ? 0 : 1);
}
const say = (message) => console.error(`@meap/collectives: ${message}`);

/** Returns the first installed wrapper, and the command it would run: Open MPI and MPICH both have -show. */
function findCompiler(...candidates) {
  for (const compiler of candidates.filter(Boolean)) {
    try {
      const shown = execFileSync(compiler, ['-show'], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      return { compiler, shown };
    } catch {
      // Not installed.
    }
  }
  return undefined;
}

/** Whether a wrapper's MPI is Open MPI rather than MPICH or a derivative; its header says so. */
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
    // Atomic: other ranks may load the file at the same time.
    renameSync(out, addon);
    writeFileSync(stampFile, stamp);
    say(`built the MPI binding with ${compiler}`);
  } catch (error) {
    const reason =
      String(error.stderr || error.message)
        .split('\n')
        .find((line) => /error/i.test(line)) ?? error.message;
    say(`the MPI binding did not build with ${compiler}: ${reason}`);
    if (!isOptional) process.exitCode = 1;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Runs `work` under a lock: of ranks launched together, one builds. */
async function withLock(work) {
  const lock = join(buildDirectory, 'lock');
  mkdirSync(buildDirectory, { recursive: true });
  for (;;) {
    try {
      mkdirSync(lock);
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    // A killed process leaves its lock; a build takes seconds.
    const since = statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
    if (Date.now() - since > 120_000) rmSync(lock, { recursive: true, force: true });
    await sleep(100);
  }
  try {
    work();
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
}

const found = findCompiler(process.env.MPICXX, 'mpicxx', 'mpic++');
if (!found) {
  say(
    'no MPI found (tried $MPICXX, mpicxx, mpic++): runs have one process; install Open MPI or MPICH for more',
  );
  process.exit(isOptional ? 0 : 1);
}
try {
  await withLock(() => {
    build(found, 'meap_mpi');
    const [own, second] = isOpenMpi(found) ? ['openmpi', 'mpich'] : ['mpich', 'openmpi'];
    rmSync(join(buildDirectory, `meap_mpi.${own}.node`), { force: true });
    const other = findCompiler(`mpicxx.${second}`);
    if (other) build(other, `meap_mpi.${second}`);
  });
} catch (error) {
  say(`the MPI binding cannot be built in ${buildDirectory}: ${error.message}`);
  process.exitCode = isOptional ? 0 : 1;
}
