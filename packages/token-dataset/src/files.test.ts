import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { basename, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DatasetError } from './errors.ts';
import { compareNaturally, resolveFiles } from './files.ts';
import { temporaryFolder } from './testing.ts';

function folderWith(...names: string[]): string {
  const folder = temporaryFolder();
  for (const name of names) writeFileSync(join(folder, name), 'x');
  return folder;
}

test('a glob is sorted with numbers by value, patterns keep their order, duplicates are dropped', async () => {
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
  ['nowhere/*.txt', /nothing matches/],
  ['inner', /is a folder/],
])('%s is refused with its reason', async (name, reason) => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'inner'));
  const found = resolveFiles(join(folder, name));
  await expect(found).rejects.toThrow(reason);
  await expect(found).rejects.toBeInstanceOf(DatasetError);
});

describe('a file is listed once', () => {
  test('a link to a folder above, links beside, and overlapping patterns', async () => {
    const folder = folderWith('b.jsonl');
    mkdirSync(join(folder, 'sub'));
    writeFileSync(join(folder, 'sub/a.jsonl'), 'x');
    symlinkSync('..', join(folder, 'sub/up'));
    // The link sorts before its target, which keeps its own name and order.
    symlinkSync('b.jsonl', join(folder, 'a-link.jsonl'));
    const repeated: string[] = [];
    const patterns = [`${folder}/**/*.jsonl`, `${folder}/./b.jsonl`, `${folder}/sub/../*.jsonl`];
    const files = await resolveFiles(patterns, (path) => repeated.push(path));
    expect(files.map(({ path }) => path)).toEqual([join(folder, 'b.jsonl'), join(folder, 'sub/a.jsonl')]);
    expect(new Set(repeated.map((path) => basename(path)))).toEqual(
      new Set(['a.jsonl', 'a-link.jsonl', 'b.jsonl']),
    );
  });

  test('a link to a file elsewhere is followed', async () => {
    const [folder, other] = [folderWith(), folderWith('a.jsonl')];
    symlinkSync(join(other, 'a.jsonl'), join(folder, 'b.jsonl'));
    symlinkSync(other, join(folder, 'linked'));
    const found = await resolveFiles(`${folder}/**/*.jsonl`);
    expect(found.map(({ path }) => path)).toEqual([join(folder, 'b.jsonl')]);
  });
});

describe('unreadable matches are errors', () => {
  test('dangling and circular links', async () => {
    const folder = folderWith('a.jsonl');
    symlinkSync('nowhere', join(folder, 'b.jsonl'));
    symlinkSync('nowhere', join(folder, 'other'));
    await expect(resolveFiles(`${folder}/*.jsonl`)).rejects.toThrow(/b\.jsonl cannot be read: ENOENT/);
    expect(await resolveFiles(`${folder}/a*`)).toHaveLength(1);
    symlinkSync('c.jsonl', join(folder, 'c.jsonl'));
    for (const pattern of ['c.jsonl', 'c*.jsonl', 'c.jsonl/*.jsonl']) {
      await expect(resolveFiles(join(folder, pattern))).rejects.toThrow(/c\.jsonl\S* cannot be read: ELOOP/);
    }
  });

  test('sockets and devices', async () => {
    const folder = folderWith('a.jsonl');
    const server = createServer();
    await new Promise<void>((done) => server.listen(join(folder, 'b.jsonl'), done));
    await expect(resolveFiles(`${folder}/*.jsonl`)).rejects.toThrow(/b\.jsonl is a socket, expected a file/);
    server.close();
    await expect(resolveFiles('/dev/null')).rejects.toThrow(/is a device, expected a file/);
  });

  test.skipIf(process.getuid?.() === 0)('folders without permission', async () => {
    const folder = folderWith('a.jsonl');
    mkdirSync(join(folder, 'closed'), { mode: 0 });
    const found = resolveFiles(`${folder}/**/*.jsonl`);
    await expect(found).rejects.toThrow(/EACCES.*closed/);
    await expect(found).rejects.toBeInstanceOf(DatasetError);
    chmodSync(join(folder, 'closed'), 0o700);
  });

  test('a name that contains a zero', async () => {
    await expect(resolveFiles('a\0.jsonl')).rejects.toBeInstanceOf(DatasetError);
  });
});

test('existing folders whose names look like patterns are taken literally', async () => {
  const folder = join(folderWith(), 'project (copy) [1]/{a,b}');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'a.jsonl'), 'x');
  expect(await resolveFiles(`${folder}/*.jsonl`)).toHaveLength(1);
  expect(await resolveFiles(`${folder}/**/{a,b}.jsonl`)).toHaveLength(1);
});

test('folders named like files are skipped, and reported if nothing else matches', async () => {
  const folder = folderWith('a.jsonl');
  mkdirSync(join(folder, 'b.jsonl'));
  expect(await resolveFiles(`${folder}/*.jsonl`)).toHaveLength(1);
  await expect(resolveFiles(`${folder}/b*`)).rejects.toThrow(/matches only folders; name their files/);
});

test('an empty list of files is an error', async () => {
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
