import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { prepareTokens } from './prepare.ts';
import { hasRealData, openForTest, realData, temporaryFolder } from './testing.ts';
import { addMaskToken, loadTokenizer } from './tokenizer.ts';

describe.skipIf(!hasRealData)('published tokenizers', () => {
  test.each([
    ['models/stories260K', 512, 1, 2],
    ['tokenizers/llama2', 32_000, 1, 2],
    ['tokenizers/llama3_1', 128_256, 128_000, 128_009],
  ])('%s', async (name, vocabSize, bos, eos) => {
    const tokenizer = loadTokenizer(realData(name));
    expect(tokenizer).toMatchObject({ vocabSize, bosTokenId: bos, eosTokenId: eos, maskTokenId: undefined });
    expect(addMaskToken(tokenizer)).toMatchObject({ maskTokenId: vocabSize, vocabSize: vocabSize + 1 });
    const ids = await tokenizer.encode('It was a bright cold day in April.');
    expect(ids[0]).toBe(bos);
    expect(await tokenizer.decode(ids, { skipSpecialTokens: true })).toBe(
      'It was a bright cold day in April.',
    );
  });

  test('the ids of stories260K', async () => {
    const tokenizer = loadTokenizer(realData('models/stories260K'));
    const golden = JSON.parse(readFileSync(realData('models/stories260K/golden.json'), 'utf8'));
    const cases = [{ text: golden.prompt, ids: golden.prompt_ids }, ...golden.encode];
    for (const { text, ids } of cases) expect([...(await tokenizer.encode(text))]).toEqual(ids);
  });

  test.each([
    ['tokenizers/llama2', {}],
    ['tokenizers/llama3_1', { eosToken: '<|end_of_text|>' }],
    ['models/stories260K', {}],
  ])('C4 and a novel with %s equal direct encoding', async (name, special) => {
    const tokenizer = loadTokenizer(realData(name), special);
    const outputDirectory = join(temporaryFolder(), 'out');
    const files = [realData('text/c4_train.parquet'), realData('text/litbank/11_*.txt')];
    const result = await prepareTokens({ files, tokenizer, outputDirectory, workers: 0 });
    const dataset = openForTest(outputDirectory);
    expect(dataset.numDocuments).toBe(201);
    const novel = readFileSync(realData('text/litbank/11_alices_adventures_in_wonderland.txt'), 'utf8');
    const ids = await tokenizer.encode(novel, { addSpecialTokens: false });
    expect([...dataset.readDocument(200)]).toEqual([tokenizer.bosTokenId, ...ids, tokenizer.eosTokenId]);
    expect(result.numBytes).toBe(406_679 + Buffer.byteLength(novel));
    expect(dataset.vocabSize).toBe(tokenizer.vocabSize);
  });
});
