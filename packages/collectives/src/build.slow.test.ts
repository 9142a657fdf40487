/** Building the binding, also by several ranks at once. */
import { execFile } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');
let work: string;

beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'meap-mpi-'));
  cpSync(join(root, 'native'), join(work, 'native'), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(work, 'node_modules'));
});
afterEach(() => rmSync(work, { recursive: true, force: true }));

/** Writes a stand-in for an MPI compiler that records its calls. */
function writeCompiler(exitCode: number): string {
  const compiler = join(work, 'mpicxx');
  writeFileSync(
    compiler,
    `#!/bin/sh
case "$*" in -show) echo c++; exit 0;; -E*) exit 0;; esac
echo call >> "${work}/calls"
[ ${exitCode} = 0 ] || { echo "error: no mpi.h" >&2; exit ${exitCode}; }
while [ "$1" != -o ]; do shift; done
echo binding > "$2"
`,
  );
  chmodSync(compiler, 0o755);
  return compiler;
}

function build(compiler: string, ...args: string[]): Promise<{ code: number; output: string }> {
  const env = { ...process.env, PATH: '/usr/bin:/bin', MPICXX: compiler };
  return new Promise((resolve) => {
    execFile(process.execPath, [join(work, 'native/build.mjs'), ...args], { env }, (error, _, stderr) =>
      resolve({ code: Number(error?.code ?? 0), output: stderr }),
    );
  });
}

it('compiles once for ranks launched together', async () => {
  const compiler = writeCompiler(0);
  const built = await Promise.all([build(compiler), build(compiler), build(compiler)]);
  expect(built.map(({ code }) => code)).toEqual([0, 0, 0]);
  expect(readFileSync(join(work, 'build/meap_mpi.node'), 'utf8')).toBe('binding\n');
  expect(readFileSync(join(work, 'calls'), 'utf8').match(/call/g)).toHaveLength(1);
  expect(existsSync(join(work, 'build/lock'))).toBe(false);
});

it('fails with exit code 1, or 0 with --if-possible', async () => {
  const compiler = writeCompiler(1);
  expect(await build(compiler)).toEqual({ code: 1, output: expect.stringContaining('error: no mpi.h') });
  expect(await build(compiler, '--if-possible')).toMatchObject({ code: 0 });
  expect(existsSync(join(work, 'build/lock'))).toBe(false);
});
