import { mkdtemp, open, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readSafetensors } from './reader.ts';

it('reads a single tensor of more than 2 GiB', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'safetensors-large-'));
  try {
    const path = join(folder, 'large.safetensors');
    const size = 2 ** 31 + 10;
    const header = `{"a":{"dtype":"U8","shape":[${size}],"data_offsets":[0,${size}]}}`;
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    await writeFile(path, Buffer.concat([length, Buffer.from(header)]));
    const start = 8 + header.length;
    // Sparse: only the written bytes use the disk.
    await truncate(path, start + size);
    const handle = await open(path, 'r+');
    const offsets = [0, 2 ** 30 - 1, 2 ** 30, 2 ** 31 - 1, 2 ** 31, size - 1];
    for (const [i, offset] of offsets.entries())
      await handle.write(Uint8Array.of(i + 1), 0, 1, start + offset);
    await handle.close();
    const { data } = (await readSafetensors(path)).tensors.get('a')!;
    expect(data.length).toBe(size);
    expect(offsets.map((offset) => data[offset])).toEqual([1, 2, 3, 4, 5, 6]);
    expect(data[2 ** 31 - 2]).toBe(0);
  } finally {
    await rm(folder, { recursive: true });
  }
});
