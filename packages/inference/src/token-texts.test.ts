import { existsSync } from 'node:fs';
import { loadTokenizer, type Tokenizer } from '@meap/token-dataset';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { tinyTokenizer } from './testing.ts';
import { TokenTexts } from './token-texts.ts';

const published = ['models/stories260K', 'tokenizers/llama2', 'tokenizers/llama3_1', 'tokenizers/gpt2']
  .map((name) => `${process.env.MEAP_DATA}/${name}`)
  .filter((path) => existsSync(`${path}/tokenizer.json`))
  .map((path) => [path, () => loadTokenizer(path)] as const);

describe.each([['a tiny tokenizer', () => tinyTokenizer] as const, ...published])(
  'tokens of %s',
  (_, load) => {
    const tokenizer: Tokenizer = load();
    const texts = new TokenTexts(tokenizer);

    async function joined(ids: number[]): Promise<string> {
      await texts.load(ids);
      let isFirst = true;
      const bytes = ids.flatMap((id) => {
        const own = [...texts.bytes(id, { isFirst })];
        if (texts.bytes(id).length > 0) isFirst = false;
        return own;
      });
      return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(bytes));
    }

    test('property: join to the decoded text', async () => {
      const text = fc.oneof(
        fc.string({ unit: 'grapheme' }),
        fc
          .array(fc.constantFrom(' the', 'é', ' ', '\n', '日本', '😀', 'Once', ' a'))
          .map((words) => words.join('')),
      );
      const property = fc.asyncProperty(text, async (value) => {
        const ids = [...(await tokenizer.encode(value))];
        expect(await joined(ids)).toBe(await tokenizer.decode(ids, { skipSpecialTokens: true }));
      });
      await fc.assert(property, { numRuns: 150 });
    });

    test('special tokens have no bytes and are displayed by name', async () => {
      const { bosTokenId: bos, eosTokenId: eos } = tokenizer;
      for (const id of [bos, eos]) {
        if (id === undefined) continue;
        await texts.load([id]);
        expect(texts.bytes(id)).toHaveLength(0);
        expect(texts.shown(id)).toBe(tokenizer.idToToken(id));
      }
    });
  },
);

test('parts of characters are displayed as bytes', async () => {
  const texts = new TokenTexts(tinyTokenizer);
  const ids = [...(await tinyTokenizer.encode('☃', { addSpecialTokens: false }))];
  await texts.load(ids);
  expect(ids.map((id) => texts.shown(id)).join('')).toBe('bytes:\\xe2bytes:\\x98bytes:\\x83');
  expect(ids.flatMap((id) => [...texts.bytes(id)])).toEqual([0xe2, 0x98, 0x83]);
});
