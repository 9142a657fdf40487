import fc from 'fast-check';
import { expect, test } from 'vitest';
import { jsonParts } from './json-parts.ts';

async function partsOf(value: unknown): Promise<Buffer[]> {
  const parts: Buffer[] = [];
  for await (const part of jsonParts(value)) parts.push(part);
  return parts;
}

test('property: the parts join to the output of JSON.stringify', async () => {
  await fc.assert(
    fc.asyncProperty(fc.jsonValue(), async (value) => {
      expect(Buffer.concat(await partsOf(value)).toString()).toBe(JSON.stringify(value));
    }),
  );
});

test('lists and iterables of any length, in parts of bounded size', async () => {
  const long = Array.from({ length: 30_000 }, (_, i) => ({ i, text: 'é😀' }));
  for (const list of [long, [], ['a'.repeat(300_000)]] as unknown[][]) {
    const value = { list, same: list, none: undefined };
    const parts = await partsOf({ ...value, same: new Set(list) });
    expect(Buffer.concat(parts).toString()).toBe(JSON.stringify(value));
    expect(Math.max(...parts.map(({ length }) => length))).toBeLessThanOrEqual(64 * 1024);
  }
});
