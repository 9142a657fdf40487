#!/usr/bin/env node
/**
 * Runs every kernel under the compiler's sanitizers, and for arm64 under emulation:
 * `node native/check.mjs [address,undefined | thread | arm64]`, all of them by default. Memory and undefined behaviour are
 * checked in the kernels for this machine's instruction set, whose vectors are the widest; threads in the portable ones.
 *
 * Exits with 1 for a finding, and with 77 if the compiler, its sanitizer or `qemu-aarch64` is missing.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const compiler = process.env.CXX || 'c++';
const checks = process.argv[2] ? [process.argv[2]] : ['address,undefined', 'thread', 'arm64'];
const work = mkdtempSync(join(tmpdir(), 'meap-check-'));
const MISSING = 77;

function run(command, args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: here, encoding: 'utf8' });
  return { ok: status === 0, output: `${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}` };
}

/** Compiles the check program; undefined if that fails. */
function build(name, command, flags) {
  const program = join(work, name);
  const sources = ['kernels.cpp', 'thread_pool.cpp', 'check.cpp'];
  const shared = ['-std=gnu++17', '-g1', '-pthread', '-w', '-DMEAP_ISA=checked'];
  const { ok, output } = run(command, [...shared, ...flags, ...sources, '-o', program]);
  if (ok) return program;
  console.log(`${name}: not available: ${output.split('\n')[0]}`);
  return undefined;
}

function sanitize(sanitizer) {
  // Whichever compiles and runs in less time together.
  const flags = sanitizer === 'thread' ? ['-O1'] : ['-O0', '-march=native'];
  const program = build(sanitizer, compiler, [
    ...flags,
    `-fsanitize=${sanitizer}`,
    '-fno-sanitize-recover=all',
  ]);
  if (!program) return MISSING;
  const { ok, output } = run(program, []);
  console.log(`${sanitizer}: ${ok ? 'clean' : output}`);
  return ok ? 0 : 1;
}

/** Results on arm64 must be close to those on this processor: sums have another order. */
function emulate() {
  const there = build('arm64', 'aarch64-linux-gnu-g++', ['-O2', '-static']);
  if (!there) return MISSING;
  const emulated = run('qemu-aarch64', [there]);
  if (emulated.output.includes('ENOENT')) return MISSING;
  const here = build('portable', compiler, ['-O2']);
  if (!here) return MISSING;
  const digests = [run(here, []), emulated].map(({ output }) => Number(/digest ([\d.]+)/.exec(output)?.[1]));
  const close = Math.abs(digests[0] / digests[1] - 1) < 1e-5;
  console.log(
    `arm64: ${close ? 'the same results' : `other results, ${digests.join(' and ')}`} ${close ? '' : emulated.output}`,
  );
  return close ? 0 : 1;
}

try {
  const codes = checks.map((check) => (check === 'arm64' ? emulate() : sanitize(check)));
  process.exitCode = codes.includes(1) ? 1 : codes.includes(MISSING) ? MISSING : 0;
} finally {
  rmSync(work, { recursive: true, force: true });
}
