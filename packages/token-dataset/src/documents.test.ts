import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ReadDocumentsOptions, readDocuments, type TextDocument } from './documents.ts';
import { BadRecordError, DatasetError } from './errors.ts';
import { fixture, fixtureDocuments, hasRealData, realData, temporaryFolder } from './testing.ts';

async function read(options: ReadDocumentsOptions): Promise<TextDocument[]> {
  const documents: TextDocument[] = [];
  for await (const document of readDocuments(options)) documents.push(document);
  return documents;
}

function fileWith(name: string, content: string | Uint8Array): string {
  const path = join(temporaryFolder(), name);
  writeFileSync(path, content);
  return path;
}

const texts = async (options: ReadDocumentsOptions) => (await read(options)).map(({ text }) => text);
const inFixtures = fixtureDocuments.slice(0, 40);
const jsonl = inFixtures.map((text, i) => `${JSON.stringify({ text, meta: { body: `${i}` } })}\n`).join('');

describe('every format gives the same documents', () => {
  test.each(['none', 'snappy', 'gzip', 'zstd', 'brotli', 'lz4'])('Parquet, %s', async (codec) => {
    const documents = await read({ files: fixture(`documents.${codec}.parquet`) });
    expect(documents.map(({ text }) => text)).toEqual(inFixtures);
    expect(documents.at(-1)!.position).toBe(40);
  });

  test('JSONL, plain, gzip and zstd of two frames', async () => {
    expect(await texts({ files: fileWith('a.jsonl', jsonl) })).toEqual(inFixtures);
    expect(await texts({ files: fileWith('a.jsonl.gz', gzipSync(jsonl)) })).toEqual(inFixtures);
    expect(await texts({ files: fixture('documents.jsonl.zst') })).toEqual(inFixtures);
  });

  test('a dotted field reaches into objects, in JSONL and Parquet; a key with a dot takes precedence', async () => {
    expect((await texts({ files: fileWith('a.jsonl', jsonl), textField: 'meta.body' })).at(-1)).toBe('39');
    const options = { files: fixture('documents.zstd.parquet'), textField: 'meta.body' };
    expect(await texts(options)).toEqual(inFixtures);
    const dotted = fileWith('a.jsonl', '{"a.b": "here", "a": {"b": "there"}}');
    expect(await texts({ files: dotted, textField: 'a.b' })).toEqual(['here']);
  });

  test('a text file is one document, unchanged but for a byte order mark', async () => {
    expect(await texts({ files: fileWith('a.txt', '\uFEFF one\n\ntwo\n') })).toEqual([' one\n\ntwo\n']);
    expect(await texts({ files: fileWith('a.txt', '') })).toEqual([]);
  });

  test('a separator splits a text file; white space around it and empty documents are dropped', async () => {
    const files = fileWith('a.txt', 'one\ntwo\n<|end|>\n\nthree\n<|end|>\n<|end|>four<|end|>\n');
    const documents = await read({ files, separator: '<|end|>' });
    expect(documents.map(({ text }) => text)).toEqual(['one\ntwo', 'three', 'four']);
    expect(documents.map(({ position }) => position)).toEqual([1, 3, 7]);
    await expect(read({ files, separator: '' })).rejects.toThrow(/separator: got an empty string/);
  });

  test('property: any strings survive a JSONL file', async () => {
    const strings = fc.array(fc.string({ unit: 'grapheme' }), { maxLength: 20 });
    const path = join(temporaryFolder(), 'a.jsonl');
    const ends = fc.constantFrom('\n', '\r\n', '\n\n \n');
    const property = fc.asyncProperty(strings, ends, async (documents, end) => {
      writeFileSync(path, documents.map((text) => JSON.stringify({ text })).join(end));
      expect(await texts({ files: path })).toEqual(documents);
    });
    await fc.assert(property, { numRuns: 50 });
  });
});

describe('bad records', () => {
  const invalid = Buffer.from([0x22, 0xff, 0x22]);
  const lines = Buffer.concat([
    Buffer.from('{"text": "one"}\n\n{"text": \n{"other": 1}\n{"text": 5}\n{"text": '),
    invalid,
    Buffer.from('}\n[]\n{"text": "two"}\n'),
  ]);
  const expected: [number, RegExp][] = [
    [3, /malformed JSON, got \{"text":$/],
    [4, /field 'text' is missing, got the keys other$/],
    [5, /field 'text' is not a string, got 5$/],
    [6, /not valid UTF-8$/],
    [7, /not an object, got \[\]$/],
  ];

  test('are thrown with file and line', async () => {
    const files = fileWith('a.jsonl', lines);
    const error = await read({ files }).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(BadRecordError);
    expect(error).toBeInstanceOf(DatasetError);
    expect(error).toMatchObject({ name: 'BadRecordError', file: files, position: 3 });
    expect(error.message).toMatch(/a\.jsonl, line 3: malformed JSON/);
    expect(error.message).not.toContain('\n');
  });

  test('are reported and skipped with a listener', async () => {
    const errors: BadRecordError[] = [];
    const files = fileWith('a.jsonl', lines);
    expect(await texts({ files, onBadRecord: (error) => errors.push(error) })).toEqual(['one', 'two']);
    expect(errors.map(({ position }) => position)).toEqual(expected.map(([line]) => line));
    for (const [i, [, reason]] of expected.entries()) expect(errors[i].reason).toMatch(reason);
  });

  test('of a text file are named by the line of the bad byte', async () => {
    const bytes = Buffer.concat([
      Buffer.from('a\n--\nb\nc'),
      Buffer.from([0xc3]),
      Buffer.from('d\n--\nlast'),
    ]);
    const files = fileWith('a.txt', bytes);
    await expect(read({ files })).rejects.toThrow(/a\.txt, line 4: not valid UTF-8/);
    const errors: BadRecordError[] = [];
    const onBadRecord = (error: BadRecordError) => errors.push(error);
    expect(await texts({ files, separator: '\n--\n', onBadRecord })).toEqual(['a', 'last']);
    expect(errors.map(({ position }) => position)).toEqual([4]);
  });

  test('of a Parquet file are named by row', async () => {
    const errors: BadRecordError[] = [];
    const files = fixture('bad-rows.parquet');
    const onBadRecord = (error: BadRecordError) => errors.push(error);
    expect(await texts({ files, onBadRecord })).toEqual(['first', 'four', 'five']);
    expect(errors.map(({ position, reason }) => [position, reason])).toEqual([
      [2, expect.stringMatching(/not a string|missing/)],
      [3, 'not valid UTF-8'],
    ]);
    await expect(read({ files })).rejects.toThrow(/bad-rows\.parquet, row 2: /);
    await expect(read({ files, textField: 'number' })).rejects.toThrow(/row 1: .*not a string, got "?1"?/);
    await expect(read({ files, textField: 'body' })).rejects.toThrow(/no column 'body', got text, number/);
  });
});

describe('damaged files', () => {
  test.each(['a.jsonl.gz', 'a.txt.gz'])('a truncated %s', async (name) => {
    const files = fileWith(name, gzipSync(jsonl).subarray(0, 700));
    await expect(read({ files })).rejects.toThrow(/is not whole gzip data/);
  });

  test('files that only look like zstd or Parquet', async () => {
    const cut = Buffer.from('28b52ffd0458', 'hex');
    await expect(read({ files: fileWith('a.jsonl.zst', cut) })).rejects.toThrow(/not whole zstd/);
    const error = read({ files: fileWith('a.parquet', 'text, really') });
    await expect(error).rejects.toThrow(/a\.parquet is not a whole Parquet file/);
    await expect(error).rejects.toBeInstanceOf(DatasetError);
  });
});

describe.skipIf(!hasRealData)('real data', () => {
  test('C4 as JSONL and Parquet', async () => {
    const lines = await texts({ files: realData('text/c4_train.jsonl') });
    const rows = await texts({ files: realData('text/c4_train.parquet') });
    expect(lines.length).toBe(1000);
    // Counts by pyarrow.
    expect([rows.length, Buffer.byteLength(rows.join(''))]).toEqual([200, 406_679]);
  });

  test('stories between separators', async () => {
    const stories = await texts({ files: realData('text/tinystories_2MiB.txt'), separator: '<|endoftext|>' });
    expect(stories.length).toBeGreaterThan(2000);
    expect(stories[1]).toMatch(/^Once upon a time, there was a little car named Beep\./);
    expect(stories.join('')).not.toContain('<|');
  });
});
