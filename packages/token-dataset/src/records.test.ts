import fc from 'fast-check';
import { expect, test } from 'vitest';
import { lineOfInvalidUtf8, RecordSplitter } from './records.ts';

function splitInChunks(bytes: Buffer, separator: string | undefined, sizes: number[]): string[] {
  const splitter = new RecordSplitter('test', separator);
  const records: string[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length];
    for (const record of splitter.push(bytes.subarray(at, at + size))) records.push(record.toString());
    at += size;
  }
  return [...records, splitter.end().toString()];
}

test('property: records do not depend on the chunks of the stream', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '|', '<', 'é', '\n'), maxLength: 60 });
  const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(text, fc.constantFrom('\n', '<|', 'aab', 'é'), sizes, (content, separator, chunks) => {
      expect(splitInChunks(Buffer.from(content), separator, chunks)).toEqual(content.split(separator));
      expect(splitInChunks(Buffer.from(content), undefined, chunks)).toEqual([content]);
    }),
  );
});

test('records stay readable while later chunks arrive in the same group', () => {
  const splitter = new RecordSplitter('test', '\n');
  const records = splitter.push(Buffer.from('first\nsecond\nrest'));
  splitter.push(Buffer.from(' of it, longer than what was held'));
  expect(records.map(String)).toEqual(['first', 'second']);
});

test('the line of invalid UTF-8 is found', () => {
  const bytes = Buffer.concat([Buffer.from('é\nfine\n'), Buffer.from([0xe2, 0x82]), Buffer.from('\nlast')]);
  expect(lineOfInvalidUtf8(bytes)).toBe(2);
});
