import fc from 'fast-check';
import { expect, it } from 'vitest';
import { DatasetError } from './errors.ts';
import { JsonSplitter } from './json-splitter.ts';

function split(json: string, sizes: number[]): unknown[] {
  const splitter = new JsonSplitter('test');
  const bytes = Buffer.from(json);
  const values: unknown[] = [];
  const take = (pieces: ReturnType<JsonSplitter['push']>) =>
    values.push(...pieces.map((piece) => JSON.parse(piece.bytes.toString())));
  for (let at = 0, i = 0; at < bytes.length; i++) {
    take(splitter.push(bytes.subarray(at, at + sizes[i % sizes.length])));
    at += sizes[i % sizes.length];
  }
  take(splitter.end());
  return values;
}

const chunks = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 });

it('property: entries of an array do not depend on the chunks of the stream', () => {
  fc.assert(
    fc.property(fc.array(fc.jsonValue()), fc.constantFrom(0, 2), chunks, (list, indent, sizes) => {
      expect(split(JSON.stringify(list, null, indent), sizes)).toEqual(JSON.parse(JSON.stringify(list)));
    }),
  );
});

it('property: values one after the other', () => {
  const value = fc.oneof(
    fc.dictionary(fc.string(), fc.jsonValue()),
    fc.integer(),
    fc.string(),
    fc.constant(null),
  );
  fc.assert(
    fc.property(fc.array(value), chunks, (list, sizes) => {
      expect(split(list.map((one) => JSON.stringify(one)).join('\n'), sizes)).toEqual(
        JSON.parse(JSON.stringify(list)),
      );
    }),
  );
});

it('a long list in data is returned entry by entry, without the text around it', () => {
  const entry = { text: 'x'.repeat(2 ** 20), list: [[1, { data: [{}] }]] };
  const splitter = new JsonSplitter('test');
  let given = 0;
  const push = (bytes: Buffer) => {
    for (const piece of splitter.push(bytes)) {
      expect(JSON.parse(piece.bytes.toString())).toEqual(entry);
      expect(piece.isTop).toBe(false);
      given++;
    }
  };
  push(Buffer.from('{"version": "a ]}", "data" : ['));
  for (let i = 0; i < 20; i++) {
    push(Buffer.from(`${i > 0 ? ',\n' : ''}${JSON.stringify(entry)}`));
    // Held until it exceeds the size of a record.
    expect(given > 0).toBe(i > 6);
  }
  push(Buffer.from('], "more": [{"data": [{"text": "b"}]}]}\n'));
  expect(splitter.end()).toEqual([]);
  expect(given).toBe(20);
});

it('property: any bytes end, in pieces or in an error', () => {
  const bytes = fc.array(fc.constantFrom(...Buffer.from('[]{},:"\\a1 \n\0\x01\x0b')), { maxLength: 30 });
  fc.assert(
    fc.property(bytes, chunks, (content, sizes) => {
      const splitter = new JsonSplitter('test');
      let given = 0;
      try {
        for (let at = 0; at < content.length; at += sizes[0]) {
          given += splitter.push(Buffer.from(content.slice(at, at + sizes[0]))).length;
        }
        given += splitter.end().length;
      } catch (error) {
        expect(error).toBeInstanceOf(DatasetError);
      }
      expect(given).toBeLessThanOrEqual(content.length);
    }),
  );
});
