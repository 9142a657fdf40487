import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, expect, it, vi } from 'vitest';
import { readDocuments } from './documents.ts';
import { resolveFiles } from './files.ts';
import { readAhead } from './read-ahead.ts';
import { temporaryFolder } from './testing.ts';
import { mixSources, START, selectTexts } from './text-sources.ts';

afterEach(() => vi.restoreAllMocks());

function folderOf(count: number): string {
  const folder = temporaryFolder();
  for (let i = 0; i < count; i++) writeFileSync(join(folder, `${i}.txt`), `text ${i}`);
  return folder;
}

const expected = (count: number) => Array.from({ length: count }, (_, i) => `text ${i}`);

it('small files keep their order among large ones and compressed ones', async () => {
  const folder = folderOf(50);
  const long = 'x'.repeat(300_000);
  writeFileSync(join(folder, '7.txt'), long);
  writeFileSync(join(folder, '20.txt'), gzipSync('text 20'));
  const found: string[] = [];
  for await (const { text } of readDocuments({ files: `${folder}/*.txt` })) found.push(text);
  expect(found).toEqual(expected(50).with(7, long));
});

it('a limited number of small files is read ahead', async () => {
  const files = await resolveFiles(`${folderOf(50)}/*.txt`);
  const first = readAhead(files).next().value!;
  expect(first.file).toBe(files[0]);
  // Files that are not being read yet may be removed.
  for (const { path } of files.slice(20)) rmSync(path);
  expect(`${await first.content}`).toBe('text 0');
});

it.each([0, 1])(
  'the error of a missing file is thrown when its turn comes, from a disk that takes %d s',
  async (step) => {
    let clock = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => (clock += 1000 * step));
    const folder = folderOf(5);
    const documents = readDocuments({ files: `${folder}/*.txt` });
    expect((await documents.next()).value).toMatchObject({ text: 'text 0' });
    const files = await resolveFiles(`${folder}/*.txt`);
    rmSync(join(folder, '3.txt'));
    mkdirSync(join(folder, '3.txt'));
    const contents = [...readAhead(files)].map(({ content }) => content);
    expect(`${await contents[2]}`).toBe('text 2');
    await expect(contents[3]).rejects.toThrow(/EISDIR/);
    await documents.return(undefined);
  },
);

it('after a slow file others are read in the background, and the disk is tried again later', async () => {
  let clock = 0;
  const now = vi.spyOn(performance, 'now').mockImplementation(() => (clock += 1000));
  const contents = [...readAhead(await resolveFiles(`${folderOf(200)}/*.txt`))].map(({ content }) => content);
  expect((await Promise.all(contents)).map(String)).toEqual(expected(200));
  // The clock is read twice for each file that is not read in the background.
  expect(now.mock.calls.length).toBeGreaterThanOrEqual(4);
  expect(now.mock.calls.length).toBeLessThan(12);
});

it('documents of many small files make one batch', async () => {
  const settings = { format: 'auto', textField: 'text', separator: undefined } as const;
  const { sources, keeps } = await selectTexts({ files: `${folderOf(40)}/*.txt` }, settings);
  const read = { onBadRecord: () => {}, onBytes: () => {} };
  const batches: string[][] = [];
  for await (const { documents } of mixSources(sources, [START], keeps, () => false, read, '')) {
    batches.push(documents.map(({ text }) => text!));
  }
  expect(batches).toEqual([expected(40)]);
});
