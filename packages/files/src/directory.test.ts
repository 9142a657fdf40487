import { existsSync } from 'node:fs';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeDirectory } from './directory.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'meap-directory-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('makeDirectory', () => {
  it('creates a directory and its parents, and keeps existing files', async () => {
    const path = join(folder, 'a', 'b', 'c');
    makeDirectory(path);
    await writeFile(join(path, 'kept'), '');
    makeDirectory(path);
    expect((await stat(path)).isDirectory()).toBe(true);
    expect(existsSync(join(path, 'kept'))).toBe(true);
  });

  it('fails where a file has the name of the directory or of a parent', async () => {
    const file = join(folder, 'file');
    await writeFile(file, '');
    expect(() => makeDirectory(file)).toThrow(/EEXIST/);
    expect(() => makeDirectory(join(file, 'below'))).toThrow(/ENOTDIR/);
  });

  it.skipIf(!existsSync('/proc/self'))('fails below /proc, where Node 20 would not return', () => {
    expect(() => makeDirectory('/proc/meap/model')).toThrow(/ENOENT/);
  });
});
