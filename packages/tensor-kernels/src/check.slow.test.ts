/**
 * Every kernel under the compiler's sanitizers (no index out of range, no undefined behaviour, no data race), and on
 * arm64 under emulation; and the addon under fuzzing.
 */
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const native = join(dirname(fileURLToPath(import.meta.url)), '../native');
const script = join(native, 'check.mjs');

it.for([
  ['address,undefined', 'address,undefined: clean'],
  ['thread', 'thread: clean'],
  ['arm64', 'the same results'],
])('the kernels pass the check for %s', ([check, verdict], { skip }) => {
  const { status, stdout } = spawnSync(process.execPath, [script, check], { encoding: 'utf8' });
  if (status === 77) skip(stdout.trim());
  expect(stdout).toContain(verdict);
  expect(status, stdout).toBe(0);
});

it('the addon accepts or refuses any arguments of libFuzzer', ({ skip }) => {
  const { status, stdout } = spawnSync(process.execPath, [join(native, 'fuzz.mjs'), '5'], {
    encoding: 'utf8',
  });
  if (status === 77) skip(stdout.trim());
  expect(stdout).toMatch(/^clean: \d+ calls, \d+ edges covered/);
  expect(status).toBe(0);
});
