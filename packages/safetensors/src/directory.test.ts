import { existsSync } from 'node:fs';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeDirectory } from './directory.ts';
import { SafetensorsError } from './error.ts';
import { fromFloat32 } from './tensor.ts';
import { writeShardedSafetensors } from './writer.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'meap-directory-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('makeDirectory', () => {
  it('makes a directory and those above it, and leaves alone what is there', async () => {
    const path = join(folder, 'a', 'b', 'c');
    makeDirectory(path);
    await writeFile(join(path, 'kept'), '');
    makeDirectory(path);
    expect((await stat(path)).isDirectory()).toBe(true);
    expect(existsSync(join(path, 'kept'))).toBe(true);
  });

  it('fails where a file has the name, or that of one above it', async () => {
    const file = join(folder, 'file');
    await writeFile(file, '');
    expect(() => makeDirectory(file)).toThrow(/EEXIST/);
    expect(() => makeDirectory(join(file, 'below'))).toThrow(/ENOTDIR/);
  });

  it.skipIf(!existsSync('/proc/self'))('fails below /proc, where Node 20 would not return', async () => {
    expect(() => makeDirectory('/proc/meap/model')).toThrow(/ENOENT/);
    const saved = writeShardedSafetensors('/proc/meap/model', [
      ['x', fromFloat32(Float32Array.of(1), 'F32', [1])],
    ]);
    await expect(saved).rejects.toThrow(SafetensorsError);
    await expect(saved).rejects.toThrow(/^\/proc\/meap\/model: cannot create: ENOENT/);
  });
});
