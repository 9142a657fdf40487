import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { fixture, fixtureDocuments } from './testing.ts';
import { trainBpeTokenizer } from './train-bpe.ts';

const additionalSpecialTokens = ['<pad>'];
const documents = fixtureDocuments;

test('the result is what the Python library trains, token for token', async () => {
  const tokenizer = await trainBpeTokenizer({ documents, vocabSize: 500, additionalSpecialTokens });
  const { vocab, merges } = JSON.parse(readFileSync(fixture('bpe-python.json'), 'utf8'));
  const { model } = JSON.parse(tokenizer.json);
  expect(model.merges).toEqual(merges);
  expect(model.vocab).toEqual(vocab);
  // They include a merge across a line feed, which training line by line would miss.
  expect(merges.some((pair: string[]) => pair.join('').includes('Ċ'))).toBe(true);
});

test('the vocabulary has the chosen size, and a smaller one is a prefix of a larger one', async () => {
  const merges: string[][] = [];
  for (const vocabSize of [258, 300, 400]) {
    const tokenizer = await trainBpeTokenizer({ documents, vocabSize });
    expect(tokenizer.vocabSize).toBe(vocabSize);
    merges.push(JSON.parse(tokenizer.json).model.merges);
  }
  expect(merges[0]).toEqual([]);
  expect(merges[2].slice(0, merges[1].length)).toEqual(merges[1]);
});

test('special tokens come first and may be chosen', async () => {
  const options = { bosToken: '[BOS]', eosToken: '[EOS]', additionalSpecialTokens: ['[UNK]'] };
  const tokenizer = await trainBpeTokenizer({ documents, vocabSize: 259, ...options });
  expect([...(await tokenizer.encode('[EOS]a[UNK]'))]).toEqual([0, 1, tokenizer.tokenToId('a'), 2]);
});

test.each([
  [{ vocabSize: 257 }, /got vocabSize 257, expected at least 258/],
  [{ vocabSize: 20_000 }, /the text yields \d+ tokens, got vocabSize 20000/],
  [{ vocabSize: 300, eosToken: '<s>' }, /special tokens repeat/],
])('%o is refused', async (options, reason) => {
  await expect(trainBpeTokenizer({ documents, ...options })).rejects.toThrow(reason);
});
