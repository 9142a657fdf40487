import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  fromFloat32,
  parseSafetensors,
  readSafetensors,
  SafetensorsError,
  writeSafetensors,
} from './index.ts';

test('bytes in memory are read like a file, and damaged ones are refused', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'safetensors-'));
  try {
    const path = join(folder, 'model.safetensors');
    const tensors = new Map([
      ['odd', fromFloat32(Float32Array.of(1, -2, 3), 'BF16', [3])],
      ['after', fromFloat32(Float32Array.of(0.5, 4), 'F32', [1, 2])],
    ]);
    await writeSafetensors(path, tensors, { metadata: { format: 'pt' } });
    const bytes = new Uint8Array(await readFile(path));
    const { metadata, tensors: parsed } = parseSafetensors(bytes);
    const read = await readSafetensors(path);
    expect(metadata).toEqual(read.metadata);
    for (const [name, { dtype, shape, data }] of read.tensors) {
      expect(parsed.get(name)).toEqual({ dtype, shape, data: new Uint8Array(data) });
    }
    expect(() => parseSafetensors(bytes.subarray(0, -1), 'upload')).toThrow(SafetensorsError);
    expect(() => parseSafetensors(bytes.subarray(0, -1), 'upload')).toThrow('upload: the file is cut short');
  } finally {
    await rm(folder, { recursive: true });
  }
});
