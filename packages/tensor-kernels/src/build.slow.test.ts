/** The install script as users meet it: with no compiler, with a broken one, and again with nothing changed. */
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const packageDirectory = join(dirname(fileURLToPath(import.meta.url)), '..');
let work: string;

beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'meap-build-'));
  for (const part of ['native', 'dist', 'package.json']) {
    cpSync(join(packageDirectory, part), join(work, part), { recursive: true });
  }
  symlinkSync(join(packageDirectory, 'node_modules'), join(work, 'node_modules'));
});
afterEach(() => rmSync(work, { recursive: true, force: true }));

function build(env: Record<string, string>): string {
  return execFileSync(process.execPath, [join(work, 'native/build.mjs')], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
}

const program = `
  import * as tf from '@tensorflow/tfjs';
  import { setBackend } from './dist/index.js';
  const { name, reason } = await setBackend('auto');
  console.log(name + ': ' + reason + ': ' + tf.matMul(tf.ones([2, 2]), tf.ones([2, 2])).dataSync()[0]);
`;

function runProgram(): string {
  return execFileSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: work,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
}

describe('the install script', () => {
  it('without a compiler says so in one line, and wasm serves', () => {
    const output = build({ PATH: '/nonexistent', CXX: '' });
    expect(output.trim().split('\n')).toHaveLength(1);
    expect(output).toContain('no C++17 compiler found');
    expect(runProgram()).toMatch(
      /^wasm: the fastest backend left \(.*native: the kernels are not built.*\): 2$/m,
    );
  });

  it('with a compiler that fails says so in one line, and does not fail the installation', () => {
    const broken = join(work, 'broken-c++');
    writeFileSync(
      broken,
      '#!/bin/sh\n[ "$1" = --version ] && { echo broken 1.0; exit 0; }\necho "error: no" >&2; exit 1\n',
    );
    chmodSync(broken, 0o755);
    const output = build({ CXX: broken });
    expect(output.trim().split('\n').at(-1)).toMatch(/did not build, tfjs-wasm serves instead: .*error: no/);
  });

  it('builds, is loaded, and does nothing the second time', () => {
    expect(build({})).toContain('built the native kernels');
    expect(runProgram()).toMatch(/^native: the fastest backend for a CPU.*: 2$/m);
    expect(build({})).toBe('');
  });
});
