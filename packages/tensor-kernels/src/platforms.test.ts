/** The packages of prebuilt kernels are generated from one table, and published with the release that they belong to. */
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, it } from 'vitest';
// @ts-expect-error JavaScript, so that it runs without a build.
import { generate, platforms } from '../native/platforms.mjs';

const root = resolve(import.meta.dirname, '../../..');
const read = (path: string) => readFileSync(path, 'utf8');

it('the files of the platforms are what `node native/platforms.mjs` writes', () => {
  for (const [path, text] of generate()) expect(JSON.stringify(read(path))).toBe(JSON.stringify(text));
  const folders = platforms.map(({ folder }: { folder: string }) => folder);
  expect(readdirSync(resolve(import.meta.dirname, '../platforms')).sort()).toEqual(folders.sort());
});

it('all packages share one version', () => {
  expect(JSON.parse(read(resolve(root, '.changeset/config.json'))).fixed).toEqual([
    ['@meap/*', 'create-meap'],
  ]);
});

it('a release depends on the tests of its binaries on every platform', () => {
  const tests = read(resolve(root, '.github/workflows/native.yml'));
  for (const { folder } of platforms) expect(tests).toContain(`folder: ${folder},`);
  const publish = read(resolve(root, '.github/workflows/publish.yml'));
  expect(publish).toMatch(/needs: \[ci, native\]\n/);
  expect(publish).toContain('uses: ./.github/workflows/native.yml');
});
