import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findAddon, libcOf, type Machine } from './find-addon.ts';
import { loadNativeAddon } from './native-addon.ts';

const addon = loadNativeAddon();
/** The file that was loaded: a local build, or a platform's package. */
const binary = Object.keys(createRequire(import.meta.url).cache).find((path) =>
  path.endsWith('meap_kernels.node'),
)!;
const linux: Machine = { platform: 'linux', arch: 'x64', libc: 'gnu' };
const gnu = '@meap/tensor-kernels-linux-x64-gnu';
const musl = '@meap/tensor-kernels-linux-x64-musl';
let root: string;
const base = () => pathToFileURL(join(root, 'dist/native-addon.js')).href;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'meap-find-'));
  write('package.json', JSON.stringify({ name: '@meap/tensor-kernels', version: '1.2.3' }));
});
afterEach(() => {
  try {
    rmSync(root, { recursive: true, force: true });
  } catch {
    // Windows keeps the files of loaded libraries.
  }
});

function write(path: string, text?: string) {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  if (text === undefined) copyFileSync(binary, join(root, path));
  else writeFileSync(join(root, path), text);
}
function installPackage(name: string, text?: string, version = '1.2.3') {
  write(`node_modules/${name}/package.json`, JSON.stringify({ name, version, main: 'meap_kernels.node' }));
  write(`node_modules/${name}/meap_kernels.node`, text);
}
const loads = () => findAddon(base(), linux).instructionSets();

describe('findAddon', () => {
  it('loads the package of the platform', () => {
    installPackage(gnu);
    expect(loads()).toEqual(addon.instructionSets());
  });

  it('prefers the build of this machine', () => {
    installPackage(gnu, 'not looked at');
    write('build/meap_kernels.node');
    expect(loads()).toEqual(addon.instructionSets());
  });

  it.each([
    ['a local build', () => write('build/meap_kernels.node', 'of another system')],
    ['the package of the other C library', () => installPackage(musl, 'of musl')],
    ['an empty local build', () => write('build/meap_kernels.node', '')],
  ])('passes over %s that does not load', (_, installBroken) => {
    installBroken();
    installPackage(gnu);
    const machine: Machine = { ...linux, libc: 'musl' };
    expect(findAddon(base(), machine).instructionSets()).toEqual(addon.instructionSets());
  });

  it('names everything it tried, the reasons, and what to do', () => {
    write('build/meap_kernels.node', 'broken');
    installPackage('@meap/tensor-kernels-linux-riscv64-gnu', undefined, '1.2.2');
    expect(() => findAddon(base(), { ...linux, arch: 'riscv64' })).toThrow(
      new RegExp(
        '^native: no kernels for linux on riscv64 \\(build/meap_kernels\\.node: .+; ' +
          '@meap/tensor-kernels-linux-riscv64-gnu: its version is 1\\.2\\.2, expected 1\\.2\\.3; ' +
          '@meap/tensor-kernels-linux-riscv64-musl: not installed\\); install again .* `npx meap-build`$',
      ),
    );
  });

  it('names the package of a system that has none', () => {
    expect(() => findAddon(base(), { platform: 'freebsd', arch: 'riscv64', libc: 'gnu' })).toThrow(
      'no kernels for freebsd on riscv64 (@meap/tensor-kernels-freebsd-riscv64: not installed)',
    );
  });
});

it.each([
  ['gnu', '7f0-7f1 r-xp 00000000 08:01 1 /usr/lib/x86_64-linux-gnu/libc.so.6'],
  ['gnu', '7f0-7f1 r-xp 00000000 08:01 1 /lib64/libc-2.28.so'],
  ['gnu', '7f0-7f1 r-xp 00000000 08:01 1 /home/me/musl/libc.so.6'],
  ['musl', '7f0-7f1 r-xp 00000000 08:01 1 /lib/ld-musl-x86_64.so.1'],
  ['musl', '7f0-7f1 r-xp 00000000 08:01 1 /usr/lib/aarch64-linux-musl/libc.so'],
  ['gnu', ''],
])('the C library is %s where a process has mapped %s', (libc, line) => {
  expect(
    libcOf(`560-561 r-xp 00000000 08:01 9 /usr/bin/node\n${line}\n7ff-800 rw-p 00000000 00:00 0 [stack]\n`),
  ).toBe(libc);
});
