import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readDocuments } from './documents.ts';
import { DatasetError } from './errors.ts';
import type { FileFormat, RecordFormat } from './formats.ts';
import { readRecords } from './read-records.ts';
import { temporaryFolder } from './testing.ts';

const written = (name: string, content: string | Uint8Array) => {
  const path = join(temporaryFolder(), name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, content);
  return path;
};

async function texts(files: string, format?: FileFormat, separator?: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { text } of readDocuments({ files, format, separator })) found.push(text);
  return found;
}

async function records(files: string, format?: RecordFormat): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const { record } of readRecords({ files, format })) found.push(record);
  return found;
}

const two = [
  { text: 'one "{[\\', meta: { set: ['a', {}] }, data: ['x'] },
  { text: 'two', score: 1.5 },
];
const lines = two.map((record) => `${JSON.stringify(record)}\n`).join('');

describe('JSON of every layout is read as documents and as records, under any name', () => {
  const layouts: Record<string, string> = {
    lines,
    'lines with a byte order mark and blank ones': `\ufeff\r\n${lines.replaceAll('\n', '\r\n\r\n')}`,
    'lines without a last line end': lines.trimEnd(),
    array: JSON.stringify(two),
    'indented array': JSON.stringify(two, null, 2),
    'array with an entry a line': `[\n${two.map((record) => JSON.stringify(record)).join(',\n')}\n]\n`,
    'array with a byte order mark': `\ufeff${JSON.stringify(two)}`,
    'a list in data': JSON.stringify({ version: '1.1', data: two, languages: ['en'], info: { data: [{}] } }),
    'a list in data, indented': JSON.stringify({ data: two }, null, 4),
    'indented objects': two.map((record) => JSON.stringify(record, null, 2)).join('\n'),
    'objects end to end': two.map((record) => JSON.stringify(record)).join(''),
    'objects with blanks between': two.map((record) => JSON.stringify(record)).join('  '),
  };
  const names = ['c4-train.00000-of-01024.json', 'a.jsonl', 'a.ndjson', 'a.jsonlines', 'part-00000', 'a.bin'];

  it.each(Object.entries(layouts))('%s', async (_, content) => {
    for (const name of names) {
      const paths = [
        written(name, content),
        written(`${name}.gz`, gzipSync(content)),
        written(name, gzipSync(content)),
      ];
      // Decompressed by a download program that did not rename it.
      paths.push(written(`${name}.gz`, content));
      for (const path of paths) {
        expect(await texts(path), path).toEqual(two.map(({ text }) => text));
        expect(await records(path), path).toEqual(two);
      }
    }
  });

  it('lines longer than a chunk, in files of several', async () => {
    const long = [1, 2, 3].map((i) => ({ text: `${i}${'é"{[\\'.repeat(60_000)}`, data: [{ a: 1 }] }));
    const json = long.map((record) => JSON.stringify(record));
    for (const content of [
      json.join('\n'),
      `[${json}]`,
      JSON.stringify(long, null, 1),
      `{"data": [${json}]}`,
      json.join(''),
    ]) {
      for (const name of ['a.json', 'a.jsonl', 'a']) {
        expect(await texts(written(name, content))).toEqual(long.map(({ text }) => text));
        expect(await records(written(`${name}.gz`, gzipSync(content)))).toEqual(long);
      }
    }
  });

  it('one object per file', async () => {
    for (const content of [
      JSON.stringify(two[0]),
      JSON.stringify(two[0], null, 2),
      `${JSON.stringify(two[0])}\n`,
    ]) {
      const path = written('1.json', content);
      expect(await texts(path)).toEqual([two[0].text]);
      expect(await records(path)).toEqual([two[0]]);
    }
  });

  it('an object that has a text keeps its list in data', async () => {
    expect(await texts(written('1.json', '{"data": [{"text": "inner"}], "text": "outer"}'))).toEqual([
      'outer',
    ]);
  });

  it('a list in data of each of several objects belongs to its record, and so does one beside messages', async () => {
    const many = [{ data: [{ a: 1 }] }, { data: [{ a: 2 }] }, { data: [] }];
    for (const indent of [0, 2]) {
      const content = many.map((one) => JSON.stringify(one, null, indent)).join('\n');
      expect(await records(written('a.json', content))).toEqual(many);
    }
    const chat = { messages: [{ role: 'user' }], data: [{ a: 1 }] };
    expect(await records(written('a.json', JSON.stringify(chat)))).toEqual([chat]);
    expect(await records(written('a.json', '{"data": []}'))).toEqual([]);
  });

  it('any records in any layout and any chunks', async () => {
    const record = fc.dictionary(fc.constantFrom('a', 'data', '"', '\\'), fc.jsonValue({ maxDepth: 2 }));
    // A first record that looks like a wrapper is ambiguous.
    const plain = record.filter((one) => !Array.isArray(one.data));
    const write = fc.constantFrom<(list: unknown[]) => string>(
      (list) => list.map((one) => `${JSON.stringify(one)}\n`).join(''),
      (list) => JSON.stringify(list, null, 1),
      (list) => JSON.stringify({ first: { data: 1 }, data: list }),
      (list) => list.map((one) => JSON.stringify(one, null, 1)).join(' '),
    );
    const path = written('any.json', '');
    await fc.assert(
      fc.asyncProperty(fc.array(plain, { minLength: 1, maxLength: 5 }), write, async (list, layout) => {
        writeFileSync(path, layout(list));
        expect(await records(path)).toEqual(JSON.parse(JSON.stringify(list)));
      }),
      { numRuns: 100 },
    );
  });
});

describe('tables and text', () => {
  it('CSV and TSV by their names, as documents too', async () => {
    expect(await texts(written('a.csv', 'id,text\n1,"one, two"\n'))).toEqual(['one, two']);
    expect(await texts(written('a.tsv.gz', gzipSync('id\ttext\n1\t5" wide, "so"\n2\t"a ""b"""\n')))).toEqual([
      '5" wide, "so"',
      'a "b"',
    ]);
    // A misleading name.
    expect(await texts(written('a.csv', lines))).toEqual(two.map(({ text }) => text));
    expect(await texts(written('a.tsv', 'id\ttext\n1\tone, two\n'))).toEqual(['one, two']);
  });

  it('a .txt is text regardless of its content, unless records are expected', async () => {
    const path = written('a.txt', lines);
    expect(await texts(path)).toEqual([lines]);
    expect(await records(path)).toEqual(two);
  });

  it('text without a known name', async () => {
    for (const content of ['Call me Ishmael.', '[1] A footnote.\n', '{braces} in prose', '- [ ] to do\n']) {
      expect(await texts(written('enwik8', content))).toEqual([content]);
      expect(await texts(written('README.md', content))).toEqual([content]);
    }
  });

  it('gzip of several members, and padded with zeros', async () => {
    const members = Buffer.concat([gzipSync(lines), gzipSync(lines), Buffer.alloc(512)]);
    expect(await texts(written('a.jsonl.gz', members))).toHaveLength(4);
  });

  it('empty texts have no documents, under every name', async () => {
    for (const name of ['a.json', 'a.jsonl', 'a.txt', 'a.csv', 'a', 'a.jsonl.gz']) {
      const empty = name === 'a.jsonl.gz' ? '\n' : '';
      for (const content of [empty, name === 'a.txt' || name === 'a' ? '' : '\n \n', '\ufeff']) {
        expect(await texts(written(name, content)), name).toEqual([]);
      }
    }
    expect(await texts(written('a.json.gz', gzipSync('')))).toEqual([]);
    expect(await texts(written('a.json', '[]'))).toEqual([]);
  });
});

describe('an explicit format overrides', () => {
  it.each<[FileFormat, string]>([
    ['jsonl', lines],
    ['json', JSON.stringify(two)],
    ['csv', 'text,b\none "{[\\,1\ntwo,2\n'.replace('one "{[\\', '"one ""{[\\"')],
    ['tsv', '"text"\tb\n"one ""{[\\"\t1\ntwo\t2\n'],
  ])('%s', async (format, content) => {
    expect(await texts(written('a.txt', content), format)).toEqual(two.map(({ text }) => text));
  });

  it('text', async () => {
    expect(await texts(written('a.jsonl', lines), 'text', '\n')).toEqual(lines.trim().split('\n'));
  });

  it('parquet', async () => {
    await expect(texts(written('a.jsonl', lines), 'parquet')).rejects.toThrow(/not a whole Parquet file/);
  });

  it('jsonl continues after lines that would be damage in another layout', async () => {
    await expect(records(written('a.json', '{"a":1,\n{"a":2}\n'), 'jsonl')).rejects.toThrow(
      /line 1: malformed JSON/,
    );
  });
});

describe('unreadable formats are named', () => {
  const utf16 = (text: string) => Buffer.from(`\ufeff${text}`, 'utf16le');
  it.each<[string, string | Uint8Array, RegExp]>([
    ['a.jsonl', utf16(lines), /is UTF-16, expected UTF-8; convert it/],
    ['a.json', utf16(lines).swap16(), /is UTF-16/],
    ['a.txt', Buffer.from('Call me Ishmael.', 'utf16le'), /is UTF-16/],
    ['a.csv', utf16('text\nb\n'), /is UTF-16/],
    ['a.json.gz', gzipSync(utf16(lines)), /is UTF-16/],
    ['a.jsonl.gz', Buffer.from('1e8b00ff', 'hex'), /is not whole gzip data/],
    ['a.jsonl.gz', Buffer.concat([gzipSync(lines), Buffer.from('garbage')]), /other data follows its last/],
    [
      'a.jsonl.gz',
      Buffer.concat([gzipSync(lines), Buffer.alloc(9), gzipSync(lines)]),
      /other data follows its last/,
    ],
    ['a.jsonl.gz', gzipSync(lines).subarray(0, -3), /is not whole gzip data: unexpected end/],
    ['a.json', Buffer.from('PK\x03\x04\x14\0\0\0'), /is a zip archive; unpack it first/],
    ['a.jsonl.xz', Buffer.from('\xfd7zXZ\0\0', 'latin1'), /compressed with xz/],
    ['a.json.gz', gzipSync(gzipSync(lines)), /compressed twice/],
    ['a.parquet.gz', gzipSync('PAR1 and more'), /a Parquet file inside gzip; decompress it first/],
    ['a.tar.gz', gzipSync(Buffer.concat([Buffer.alloc(257), Buffer.from('ustar')])), /is a tar archive/],
    ['picture.png', Buffer.from('89504e470d0a1a0a0000000d', 'hex'), /unknown format, got binary data/],
    ['a.jsonl', '[{"text": "a"} {"text": "b"}]', /line 1: damaged JSON: no comma/],
    ['a.json', '[{"text": "a"},\n{"text": "b"}', /line 2: damaged JSON: it ends in the middle/],
    ['a.json', '[{"text": "a"}]]', /damaged JSON: got \], expected a record/],
    ['a.json', '{"data": [{"text": "a"}', /damaged JSON|malformed JSON/],
  ])('%s', async (name, content, reason) => {
    const reading = texts(written(name, content));
    await expect(reading).rejects.toThrow(reason);
    await expect(reading).rejects.toBeInstanceOf(DatasetError);
  });
});
