import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readDocuments } from './documents.ts';
import { DatasetError } from './errors.ts';
import { temporaryFolder } from './testing.ts';
import { unzstd } from './zstd.ts';

const MAGIC = [0x28, 0xb5, 0x2f, 0xfd];
/** Header of a frame with a window of 2^log bytes. */
const header = (log = 20) => [...MAGIC, 0, (log - 10) << 3];
const describe24 = (value: number) => [value & 255, (value >> 8) & 255, value >> 16];
const raw = (text: string, isLast = false) => [
  ...describe24((text.length << 3) | Number(isLast)),
  ...Buffer.from(text),
];
/** A block of one repeated byte: 128 KiB in four bytes. */
const repeated = (letter: string) => [...describe24((131_072 << 3) | (1 << 1)), letter.charCodeAt(0)];
const skippable = (content: string) => [
  0x53,
  0x2a,
  0x4d,
  0x18,
  content.length,
  0,
  0,
  0,
  ...Buffer.from(content),
];

async function unpack(bytes: number[], chunk = 3): Promise<string> {
  async function* source() {
    for (let at = 0; at < bytes.length; at += chunk) yield Uint8Array.from(bytes.slice(at, at + chunk));
  }
  const parts: Uint8Array[] = [];
  for await (const part of unzstd('a.zst', source())) parts.push(part);
  return Buffer.concat(parts).toString();
}

it('consecutive frames with metadata frames between them, in any chunks', async () => {
  const first = [...header(), ...raw('Call me '), ...raw('Ishmael.', true)];
  // A single segment with content size and checksum; the checksum is ignored.
  const second = [...MAGIC, 0x24, 5, ...raw(' Some', true), 1, 2, 3, 4];
  const all = [...skippable('index'), ...first, ...skippable(''), ...second, ...first];
  for (const chunk of [1, 2, 7, 1000]) {
    expect(await unpack(all, chunk)).toBe('Call me Ishmael. SomeCall me Ishmael.');
  }
  expect(await unpack([])).toBe('');
});

it.each<[string, number[], RegExp]>([
  [
    'a window of 2^31',
    [...header(31), ...raw('a', true)],
    /a zstd window of 2147483648 bytes, .*134217728 .*--long=31/,
  ],
  [
    'a single segment of 2^40',
    [...MAGIC, 0xe0, 0, 0, 0, 0, 0, 1, 0, 0, ...raw('a', true)],
    /a zstd window of 1099511627776/,
  ],
  ['a dictionary', [...MAGIC, 1, 0, 77, ...raw('a', true)], /a dictionary \(number 77\)/],
  ['an end in a header', header().slice(0, 5), /unexpected end/],
  ['an end between blocks', [...header(), ...raw('a')], /unexpected end/],
  ['an end in a block', [...header(), ...raw('abc', true).slice(0, -1)], /unexpected end/],
  ['an end in the checksum', [...MAGIC, 4, 80, ...raw('a', true), 1, 2, 3], /unexpected end/],
  ['an end in metadata', skippable('index').slice(0, -1), /unexpected end/],
  ['something behind it', [...header(), ...raw('a', true), ...Buffer.from('garbage')], /other data follows/],
  ['two bytes behind it', [...header(), ...raw('a', true), 0, 0], /other data follows/],
  ['another size than told', [...MAGIC, 0x20, 2, ...raw('a', true)], /a frame of 1 bytes, its header says 2/],
  ['a reserved block', [...header(), 6, 0, 0], /damaged block/],
  ['a block beyond 128 KiB', [...header(), ...describe24(((131_073 << 3) | 3) >>> 0), 97], /damaged block/],
])('%s', async (_, bytes, reason) => {
  await expect(unpack(bytes)).rejects.toThrow(reason);
});

it('decompresses only what is read', async () => {
  // 13 GB in 400 KB.
  const bytes = Uint8Array.from([
    ...header(),
    ...Array.from({ length: 100_000 }, () => repeated('a')).flat(),
  ]);
  const blocks = unzstd('a.zst', [bytes].values() as never);
  const { value } = await blocks.next();
  expect(value).toHaveLength(131_072);
  await blocks.return(undefined);
});

it('errors name the file and are of its data', async () => {
  const files = join(temporaryFolder(), 'a.jsonl.zst');
  writeFileSync(files, Uint8Array.from([...header(31), ...raw('{}', true)]));
  const reading = readDocuments({ files }).next();
  await expect(reading).rejects.toThrow(/a\.jsonl\.zst: a zstd window of 2147483648 bytes, expected at most/);
  await expect(reading).rejects.toBeInstanceOf(DatasetError);
});
