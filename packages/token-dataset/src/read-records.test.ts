import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BadRecordError, DatasetError } from './errors.ts';
import { readRecords } from './read-records.ts';
import { fixture, fixtureDocuments, temporaryFolder } from './testing.ts';

async function collect(files: string | string[], onBadRecord?: (error: BadRecordError) => void) {
  const entries: { record: Readonly<Record<string, unknown>>; unit: string; position: number }[] = [];
  for await (const entry of readRecords({ files, onBadRecord })) entries.push(entry);
  return entries;
}

const written = (name: string, content: string | Uint8Array) => {
  const path = join(temporaryFolder(), name);
  writeFileSync(path, content);
  return path;
};

const records = [{ a: 1, b: ['x', { y: 'z' }] }, { a: 2 }];

describe('readRecords', () => {
  it.each([
    ['list.json', JSON.stringify(records), 'row'],
    ['marked.json', `\ufeff${JSON.stringify(records, null, 2)}\n`, 'row'],
    ['list.json.gz', gzipSync(JSON.stringify(records)), 'row'],
    ['lines.json', records.map((record) => JSON.stringify(record)).join('\n'), 'line'],
    ['lines.jsonl', `${records.map((record) => JSON.stringify(record)).join('\n')}\n`, 'line'],
    ['lines.jsonl.gz', gzipSync(records.map((record) => JSON.stringify(record)).join('\n')), 'line'],
  ])('%s', async (name, content, unit) => {
    const entries = await collect(written(name, content));
    expect(entries.map((entry) => [entry.record, entry.unit, entry.position])).toEqual([
      [records[0], unit, 1],
      [records[1], unit, 2],
    ]);
  });

  it.each(['jsonl.zst', 'snappy.parquet', 'zstd.parquet'])(
    'documents.%s, written by Python',
    async (name) => {
      const entries = await collect(fixture(`documents.${name}`));
      expect(entries.map(({ record }) => record.text)).toEqual(fixtureDocuments.slice(0, 40));
    },
  );

  it.each(['table.csv', 'table.csv.gz'])('%s', async (name) => {
    const content = '\ufeffquestion,answer\r\n"a, ""b""\nc",\r\n\r\né,2\r\n';
    const entries = await collect(written(name, name.endsWith('.gz') ? gzipSync(content) : content));
    expect(entries.map(({ record, unit, position }) => [record, unit, position])).toEqual([
      [{ question: 'a, "b"\nc', answer: '' }, 'row', 1],
      [{ question: 'é', answer: '2' }, 'row', 2],
    ]);
  });

  it('reads any table of texts back from CSV', async () => {
    const cell = fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\r', ' '));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(cell, cell), { maxLength: 20 }), async (rows) => {
        const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
        const path = written('any.csv', ['a,b', ...rows.map((row) => row.map(quoted).join(','))].join('\n'));
        const entries = await collect(path);
        expect(entries.map(({ record }) => [record.a, record.b])).toEqual(rows);
      }),
      { numRuns: 50 },
    );
  });

  it('counts blank lines', async () => {
    const [entry] = await collect(written('a.jsonl', '\n\n{"a":1}\n'));
    expect(entry.position).toBe(3);
  });

  it.each([
    ['bad.jsonl', '{"a":1}\n{"a":\n[1]\n', [2, 3]],
    ['bad.json', '[{"a":1},2,null]', [2, 3]],
    ['bad.csv', 'a,b\n1,2\n3\n4,5,6\n', [2, 3]],
  ])('names bad records of %s, or skips them', async (name, content, positions) => {
    const path = written(name, content);
    await expect(collect(path)).rejects.toThrow(/ 2: .*; fix it, or skip bad records with onBadRecord$/);
    const heard: number[] = [];
    expect(await collect(path, (error) => heard.push(error.position))).toHaveLength(1);
    expect(heard).toEqual(positions);
  });

  it('errors are one line', async () => {
    const reading = collect(written('a.json', '[\n  {\n    "a": oops,\n    "b": 1\n  }\n]'));
    await expect(reading).rejects.toThrow(/row 1: malformed JSON, got \{ "a": oops, "b": 1 \}; fix it/);
    const codes = collect(written('b.jsonl', '{"a": \u001b[31m\u0000}\n{}\n'));
    await expect(codes).rejects.toThrow(/malformed JSON, got \{"a": \[31m \}; fix it/);
    const error = await collect(written('a.csv', '"a\nb","a\nb"\n')).catch((thrown) => thrown);
    expect(error.message).toMatch(/names a field twice, got 'a b'/);
  });

  it.each([
    ['damaged.json', '[{"a":1}, {"a"', /line 1: /],
    ['a.txt', 'a', /got plain text, expected records: JSON lines, .*Parquet/],
    ['open.csv', 'a\n"b', /line 2: not CSV: .*[Qq]uote/],
    ['quoted.csv', 'a\nb "c"', /line 2: not CSV: .*[Qq]uote/],
    ['latin.csv', Uint8Array.of(97, 10, 0xe9), /not valid UTF-8/],
    ['twice.csv', 'a,a\n1,2', /names a field twice/],
    ['short.json.gz', gzipSync('[{"a":1}]').subarray(0, 12), /not whole gzip data/],
    [
      'a.parquet',
      '',
      /: is empty, got 0 bytes, expected a whole file of its format; copy or download it again$/,
    ],
    ['a.jsonl.gz', '', /: is empty, got 0 bytes/],
    ['a.json.zst', '', /: is empty, got 0 bytes/],
    ['a.arrow', '', /: is empty, got 0 bytes/],
    ['a.gz', Uint8Array.of(0x1f), /not whole gzip data: its first bytes/],
    ['a.zst', Uint8Array.of(0x28, 0xb5), /not whole zstd data: its first bytes/],
    ['no.parquet', 'PAR1', /not a whole Parquet file: got 4 bytes, expected at least 12; copy or download/],
    ['no.parquet', 'PAR1\0\0\0\0PAR1', /not a whole Parquet file: damaged structure$/],
  ])('refuses %s', async (name, content, message) => {
    const reading = collect(written(name, content));
    await expect(reading).rejects.toThrow(message);
    await expect(reading).rejects.toBeInstanceOf(DatasetError);
  });
});
