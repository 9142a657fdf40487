/**
 * Prebuilt binaries: the same bytes from wherever they are compiled, every instruction set inside, the same results as a
 * local build's. Skipped where the cross compiler has not been used yet: it is a download that no clone needs.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
// @ts-expect-error JavaScript, so that it runs in any Node.
import { bitsOf } from '../fixtures/bits.mjs';
import { withNamedFields } from './addon-interface.ts';
import { loadNativeAddon } from './native-addon.ts';

const root = join(import.meta.dirname, '..');
const compiler = join(
  process.env.XDG_CACHE_HOME || join(homedir(), '.cache'),
  'meap/ziglang-0.17.1/complete',
);
const isHere = process.platform === 'linux' && process.arch === 'x64' && existsSync(compiler);
let work: string;

beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'meap-cross-'));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** Compiles for Linux with glibc from the sources in a folder. */
function cross(directory: string, out: string): string {
  const script = join(directory, 'native/cross.mjs');
  execFileSync(process.execPath, [script, 'linux-x64-gnu', '--out', out], { encoding: 'utf8' });
  return join(out, 'linux-x64-gnu/meap_kernels.node');
}

describe.skipIf(!isHere)('a prebuilt binary', () => {
  it('is equal to the byte from another folder, and gives the results of a local build', () => {
    const elsewhere = join(work, 'another/folder');
    mkdirSync(elsewhere, { recursive: true });
    for (const part of ['native', 'package.json']) {
      cpSync(join(root, part), join(elsewhere, part), { recursive: true });
    }
    symlinkSync(join(root, 'node_modules'), join(elsewhere, 'node_modules'));
    const binaries = [cross(root, join(work, 'first')), cross(elsewhere, join(work, 'second'))];
    expect(readFileSync(binaries[0]).equals(readFileSync(binaries[1]))).toBe(true);

    const addon = withNamedFields(createRequire(import.meta.url)(binaries[0]));
    const local = loadNativeAddon();
    expect(addon.instructionSets()).toEqual(local.instructionSets());
    expect(addon.instructionSet()).toBe(local.instructionSet());
    expect(bitsOf(addon)).toEqual(bitsOf(local));

    const text = readFileSync(binaries[0], 'latin1');
    const versions = [...text.matchAll(/GLIBC_2\.(\d+)/g)].map(([, minor]) => Number(minor));
    expect(Math.max(...versions)).toBeLessThanOrEqual(28);
  });
});
