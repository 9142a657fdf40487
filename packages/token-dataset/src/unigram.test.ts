import { expect, test } from 'vitest';
import { createBatches } from './batches.ts';
import { selectBlocks } from './blocks.ts';
import { readDocuments } from './documents.ts';
import { fixtureDocuments, hasRealData, openForTest, prepareDocuments, realData } from './testing.ts';
import { trainBpeTokenizer } from './train-bpe.ts';
import { tokenCounts, unigramBitsPerByte } from './unigram.ts';

const split = { sequenceLength: 31, validationFraction: 0.25 };

test('the score is that of add-one-smoothed counts over the targets of the validation batches', async () => {
  const dataset = openForTest(await prepareDocuments(fixtureDocuments));
  const train = selectBlocks(dataset, { ...split, split: 'train' });
  const validation = selectBlocks(dataset, { ...split, split: 'validation' });
  const counts = new Map<number, number>();
  const trainTokens = dataset.readTokens(0, train.numBlocks * 32);
  for (const id of trainTokens) counts.set(id, (counts.get(id) ?? 0) + 1);

  let nats = 0;
  let numBytes = 0;
  let numTokens = 0;
  const pass = { batchSize: 4, shuffle: false, repeat: false } as const;
  for (const batch of createBatches(dataset, { ...split, ...pass, split: 'validation' })) {
    for (const id of batch.targets) {
      nats -= Math.log(((counts.get(id) ?? 0) + 1) / (trainTokens.length + dataset.vocabSize));
    }
    numBytes += batch.numBytes;
    numTokens += batch.targets.length;
  }
  const score = unigramBitsPerByte(train, validation);
  expect(score.numTokens).toBe(numTokens);
  expect(score.numBytes).toBeCloseTo(numBytes, 6);
  expect(score.bitsPerByte).toBeCloseTo(nats / Math.LN2 / numBytes, 10);
  expect(score.bitsPerToken).toBeCloseTo(nats / Math.LN2 / numTokens, 10);

  const counted = tokenCounts(train);
  expect(counted).toHaveLength(dataset.vocabSize);
  expect([...counted].map((count, id) => [id, count]).filter(([, count]) => count > 0)).toEqual(
    [...counts].sort(([a], [b]) => a - b),
  );
});

test.skipIf(!hasRealData)(
  'English by a vocabulary of bytes has about four and a half bits a byte',
  async () => {
    const files = realData('text/litbank/11_*.txt');
    const tokenizer = await trainBpeTokenizer({ documents: readDocuments({ files }), vocabSize: 258 });
    const texts: string[] = [];
    for await (const { text } of readDocuments({ files })) texts.push(text);
    const dataset = openForTest(await prepareDocuments(texts, { tokenizer, addBos: false, addEos: false }));
    const blocks = selectBlocks(dataset, { sequenceLength: 128 });
    const score = unigramBitsPerByte(blocks, blocks);
    // A token is a byte here, so both units agree; the order-0 entropy of English text is 4 to 5 bits a character.
    expect(score.bitsPerByte).toBeCloseTo(score.bitsPerToken, 6);
    expect(score.bitsPerByte).toBeGreaterThan(4);
    expect(score.bitsPerByte).toBeLessThan(5);
  },
);
