import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DatasetError } from './errors.ts';
import { compareNaturally, resolveFiles } from './files.ts';
import { temporaryFolder } from './testing.ts';

function folderWith(...names: string[]): string {
  const folder = temporaryFolder();
  for (const name of names) writeFileSync(join(folder, name), 'x');
  return folder;
}

test('a glob is sorted with numbers by value, patterns keep their order, duplicates fall away', async () => {
  const folder = folderWith('part-10.txt', 'part-2.txt', 'part-1.jsonl.gz', 'last.jsonl');
  const patterns = [join(folder, 'last.jsonl'), join(folder, '*')];
  const names = (await resolveFiles(patterns)).map((file) => basename(file.path));
  expect(names).toEqual(['last.jsonl', 'part-1.jsonl.gz', 'part-2.txt', 'part-10.txt']);
});

test('an existing name with brackets is a file, not a pattern', async () => {
  const folder = folderWith('data [v1].txt');
  expect(await resolveFiles(join(folder, 'data [v1].txt'))).toHaveLength(1);
});

test.each([
  ['nothing.txt', /no such file/],
  ['*.nothing', /nothing matches/],
  ['inner', /is a folder/],
])('%s is refused with its reason', async (name, reason) => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'inner'));
  const found = resolveFiles(join(folder, name));
  await expect(found).rejects.toThrow(reason);
  await expect(found).rejects.toBeInstanceOf(DatasetError);
});

test('no files at all is an error too', async () => {
  await expect(resolveFiles([])).rejects.toThrow(/no files given/);
});

test('property: the natural order is a total order', () => {
  const names = fc.stringMatching(/^[ab]?\d{0,3}[ab]?\d{0,3}$/);
  fc.assert(
    fc.property(names, names, names, (a, b, c) => {
      expect(Math.sign(compareNaturally(a, b))).toBe(-Math.sign(compareNaturally(b, a)) + 0);
      if (compareNaturally(a, b) <= 0 && compareNaturally(b, c) <= 0) {
        expect(compareNaturally(a, c)).toBeLessThanOrEqual(0);
      }
    }),
  );
});
