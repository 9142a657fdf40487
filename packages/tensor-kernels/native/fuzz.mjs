#!/usr/bin/env node
/**
 * Coverage-guided fuzzing of the addon's arguments with clang's libFuzzer: `node native/fuzz.mjs [SECONDS]`, by
 * default 20. Inputs are kept in memory only; a finding is printed with its stack.
 *
 * Exits with 1 at a finding, and with 77 where clang or libFuzzer is missing (Debian: clang and libclang-rt-14-dev).
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MISSING = 77;
const here = dirname(fileURLToPath(import.meta.url));
const seconds = Number(process.argv[2] ?? 20);
const work = mkdtempSync(join(tmpdir(), 'meap-native-fuzz-'));
const headers = createRequire(import.meta.url)('node-api-headers').include_dir;
const program = join(work, 'fuzz');
const flags = '-std=gnu++17 -g -O1 -w -pthread -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all';
const compile = (args) =>
  spawnSync(process.env.CLANG || 'clang++', [...flags.split(' '), ...args], { cwd: here, encoding: 'utf8' });
const definitions = ['-DMEAP_ISA=portable', '-DMEAP_INSTRUCTION_SETS(X)=X(portable)'];
const sources = ['addon.cpp', 'kernels.cpp', 'thread_pool.cpp', 'fuzz.cpp'];

try {
  const probe = join(work, 'probe.cpp');
  writeFileSync(
    probe,
    'extern "C" int LLVMFuzzerTestOneInput(const unsigned char *, unsigned long) { return 0; }',
  );
  const missing = compile([probe, '-o', program]);
  const build = compile([...definitions, '-isystem', headers, ...sources, '-o', program]);
  if (missing.status !== 0) {
    console.log(`not available: ${missing.error?.message ?? missing.stderr.split('\n')[0]}`);
    process.exitCode = MISSING;
  } else if (build.status !== 0) {
    console.log(build.stderr.slice(-6000));
    process.exitCode = 1;
  } else {
    const corpus = join(work, 'corpus');
    mkdirSync(corpus);
    const options = [
      `-max_total_time=${seconds}`,
      '-seed=1',
      '-max_len=512',
      '-timeout=10',
      '-rss_limit_mb=2048',
    ];
    const { status, stderr } = spawnSync(program, [...options, corpus], {
      cwd: work,
      // A buffer too large for this machine is an error the addon must report.
      env: { ...process.env, ASAN_OPTIONS: 'allocator_may_return_null=1:max_allocation_size_mb=1024' },
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
    });
    const done = /Done (\d+) runs/.exec(stderr)?.[1];
    const coverage = [...stderr.matchAll(/cov: (\d+)/g)].at(-1)?.[1];
    const isClean = status === 0 && done !== undefined;
    console.log(isClean ? `clean: ${done} calls, ${coverage} edges covered` : stderr.slice(-6000));
    process.exitCode = isClean ? 0 : 1;
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
