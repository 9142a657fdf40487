import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeFileAtomic, writeStreamAtomic } from './write-file.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'meap-write-file-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each([{}, { durable: true }])('replaces a file and leaves no other, %o', (options) => {
  const path = join(folder, 'a.json');
  writeFileAtomic(path, 'old', options);
  writeFileAtomic(path, Uint8Array.of(110, 101, 119), options);
  expect(readFileSync(path, 'utf8')).toBe('new');
  expect(readdirSync(folder)).toEqual(['a.json']);
});

test('writes the temporary file where the caller says', () => {
  const path = join(folder, 'b.json');
  const temporary = join(folder, 'elsewhere/b');
  expect(() => writeFileAtomic(path, 'text', { temporary })).toThrow(/elsewhere/);
  mkdirSync(join(folder, 'elsewhere'));
  writeFileAtomic(path, 'text', { temporary });
  expect(readFileSync(path, 'utf8')).toBe('text');
  rmSync(join(folder, 'elsewhere'), { recursive: true });
});

test('leaves no temporary file when the rename fails', () => {
  const path = join(folder, 'directory');
  mkdirSync(path);
  const before = readdirSync(folder);
  expect(() => writeFileAtomic(path, 'text')).toThrow(/EISDIR|EPERM/);
  expect(readdirSync(folder)).toEqual(before);
});

test('writes a stream as a whole or not at all', async () => {
  const path = join(folder, 'stream');
  const chunks = async function* (fails: boolean) {
    yield Buffer.from('first, ');
    if (fails) throw new Error('no more');
    yield Buffer.from('second');
  };
  await expect(writeStreamAtomic(path, chunks(true))).rejects.toThrow('no more');
  expect(readdirSync(folder)).not.toContain('stream');
  await writeStreamAtomic(path, chunks(false));
  await expect(writeStreamAtomic(path, chunks(true))).rejects.toThrow('no more');
  expect(readFileSync(path, 'utf8')).toBe('first, second');
  expect(readdirSync(folder).filter((name) => name.startsWith('stream'))).toEqual(['stream']);
});
