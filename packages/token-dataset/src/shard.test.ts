import { closeSync, existsSync, openSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { guard } from './append-file.ts';
import { DatasetError } from './errors.ts';
import { readShardHeader, ShardWriter, shardIsIntact } from './shard.ts';
import { temporaryFolder } from './testing.ts';

function headerOf(path: string) {
  const file = openSync(path, 'r');
  try {
    const header = readShardHeader(file, path);
    return { header, intact: shardIsIntact(file, header) };
  } finally {
    closeSync(file);
  }
}

test.each([2, 4] as const)(
  'a finished shard of %i-byte tokens has the header of its contents',
  (bytesPerToken) => {
    const path = join(temporaryFolder(), 'shard.bin');
    const writer = ShardWriter.create(path, bytesPerToken);
    const array = bytesPerToken === 2 ? Uint16Array : Uint32Array;
    writer.append(array.of(1, 40_000, 2), 7);
    writer.append(array.of(), 0);
    expect(() => headerOf(path)).toThrow(/truncated shard|lacks the magic/);
    const written = writer.finish();
    expect(written).toMatchObject({ bytesPerToken, numTokens: 3, numDocuments: 2, maxTokenId: 40_000 });
    expect(headerOf(path)).toEqual({ header: written, intact: true });
    truncateSync(path, 70);
    expect(() => headerOf(path)).toThrow(/damaged shard, got 70 bytes, its header says/);
  },
);

test('a file of another kind is refused', () => {
  const path = join(temporaryFolder(), 'shard.bin');
  writeFileSync(path, 'x'.repeat(100));
  expect(() => headerOf(path)).toThrow(DatasetError);
  expect(() => headerOf(path)).toThrow(/shard\.bin: not a finished shard/);
});

// On Linux this device answers every write with "no space left".
test.skipIf(!existsSync('/dev/full'))('a full disk has its own message', () => {
  const writer = ShardWriter.create('/dev/full', 2);
  writer.append(Uint16Array.of(1, 2, 3), 3);
  expect(() => writer.finish()).toThrow(DatasetError);
  expect(() => writer.finish()).toThrow(/cannot write \/dev\/full: the disk is full; free some space/);
  writer.close();
});

test('other failures keep their reason', () => {
  const path = join(temporaryFolder(), 'missing', 'shard.bin');
  expect(() => guard(path, () => openSync(path, 'w'))).toThrow(/cannot write .*ENOENT/);
});
