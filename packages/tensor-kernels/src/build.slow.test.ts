/** The build of the kernels: with no compiler, with a broken one, and again with nothing changed. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
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
  // Without the packages of prebuilt kernels.
  mkdirSync(join(work, 'node_modules'));
  for (const name of readdirSync(join(packageDirectory, 'node_modules')).filter((name) => name !== '@meap')) {
    symlinkSync(join(packageDirectory, 'node_modules', name), join(work, 'node_modules', name));
  }
});
afterEach(() => rmSync(work, { recursive: true, force: true }));

function build(env: Record<string, string>, ...args: string[]) {
  const { status, stdout } = spawnSync(process.execPath, [join(work, 'native/build.mjs'), ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  return { status, output: stdout };
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
    // Where a package manager's launcher hoists packages to.
    env: { ...process.env, NODE_PATH: '' },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
}

describe('meap-build', () => {
  it('without a compiler says so in one line, and fails unless it need not succeed', () => {
    const env = { PATH: '/nonexistent', CXX: '' };
    const { status, output } = build(env);
    expect(status).toBe(1);
    expect(output.trim()).toMatch(/^@meap\/tensor-kernels: no C\+\+17 compiler found \(tried .*\)$/);
    expect(build(env, '--if-possible')).toEqual({
      status: 0,
      output: expect.stringMatching(/no C\+\+17 compiler found .*; stock tfjs-wasm will run instead.*\n$/),
    });
    expect(runProgram()).toMatch(/^wasm: about 65 times slower than native, which cannot run here \(.*: 2$/m);
  });

  it('with a compiler that fails says so in one line, and leaves no older binary', () => {
    const broken = join(work, 'broken-c++');
    writeFileSync(
      broken,
      '#!/bin/sh\n[ "$1" = --version ] && { echo broken 1.0; exit 0; }\necho "error: no" >&2; exit 1\n',
    );
    chmodSync(broken, 0o755);
    mkdirSync(join(work, 'build'));
    writeFileSync(join(work, 'build/meap_kernels.node'), 'of older sources');
    const { status, output } = build({ CXX: broken });
    expect(status).toBe(1);
    expect(output.trim().split('\n').at(-1)).toMatch(/the native kernels did not build: .*error: no/);
    expect(existsSync(join(work, 'build/meap_kernels.node'))).toBe(false);
  });

  it('builds, loads, and does nothing the second time', () => {
    // Without optimization, which is most of a build's time.
    const quick = join(work, 'quick-c++');
    writeFileSync(quick, '#!/bin/sh\nexec c++ "$@" -O0\n');
    chmodSync(quick, 0o755);
    const env: Record<string, string> = process.platform === 'win32' ? {} : { CXX: quick };
    expect(build(env).output).toContain('built the native kernels');
    expect(runProgram()).toMatch(/^native: the fastest backend for a CPU.*: 2$/m);
    expect(build(env).output).toContain('up to date');
  });

  it('refuses unknown keys and values', () => {
    expect(build({}, '--fast')).toMatchObject({
      status: 1,
      output: expect.stringContaining("unknown argument, got '--fast'"),
    });
  });
});
