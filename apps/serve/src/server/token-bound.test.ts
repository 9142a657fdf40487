import { existsSync } from 'node:fs';
import { loadTokenizer, type Tokenizer } from '@meap/token-dataset';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { tinyTokenizer } from './testing.ts';
import { maxBytesPerToken } from './token-bound.ts';

const published = ['models/stories260K', 'tokenizers/llama2', 'tokenizers/llama3_1']
  .map((name) => `${process.env.MEAP_DATA}/${name}`)
  .filter((path) => existsSync(`${path}/tokenizer.json`))
  .map((path) => [path, () => loadTokenizer(path)] as const);

describe.each([['a tiny tokenizer', () => tinyTokenizer] as const, ...published])('%s', (_, load) => {
  const tokenizer: Tokenizer = load();
  const bound = maxBytesPerToken(tokenizer.json);

  test('property: no text becomes fewer tokens than the bound allows', async () => {
    expect(bound).toBeLessThan(1000);
    const part = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom(' '.repeat(99), '\t', '\n', 'captain', 'é', '😀', '▁', '</s>', '<s>', '=', '-'),
    );
    const texts = fc.array(fc.tuple(part, fc.integer({ min: 1, max: 9 })), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(texts, async (parts) => {
        const text = parts.map(([one, times]) => one.repeat(times)).join('');
        const { length } = await tokenizer.encode(text, { addSpecialTokens: false });
        expect(length * bound).toBeGreaterThanOrEqual(Buffer.byteLength(text));
      }),
      { numRuns: 10 },
    );
  });
});

const vocab = { a: 0, abc: 1 };
const byteLevel = { type: 'ByteLevel' };
test.each([
  [{ pre_tokenizer: byteLevel }, 3],
  [{ pre_tokenizer: byteLevel, normalizer: { type: 'NFC' } }, 9],
  [
    {
      pre_tokenizer: byteLevel,
      added_tokens: [{ content: '<é>', lstrip: false, rstrip: false }],
    },
    4,
  ],
  // Dropped text, or runs of unknown characters.
  [{}, Number.POSITIVE_INFINITY],
  [
    { pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'WhitespaceSplit' }, byteLevel] } },
    Number.POSITIVE_INFINITY,
  ],
  [{ pre_tokenizer: byteLevel, normalizer: { type: 'Strip' } }, Number.POSITIVE_INFINITY],
  [
    { pre_tokenizer: byteLevel, added_tokens: [{ content: '<m>', lstrip: true, rstrip: false }] },
    Number.POSITIVE_INFINITY,
  ],
])('%j: %d', (contents, expected) => {
  expect(maxBytesPerToken(JSON.stringify({ model: { type: 'BPE', vocab }, ...contents }))).toBe(expected);
});
