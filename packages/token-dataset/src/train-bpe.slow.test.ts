import { expect, test } from 'vitest';
import { readDocuments } from './documents.ts';
import { hasRealData, realData } from './testing.ts';
import { trainBpeTokenizer } from './train-bpe.ts';

test.skipIf(!hasRealData)('4,096 tokens of 2 MB of stories, twice the same', async () => {
  const files = realData('text/tinystories_2MiB.txt');
  const train = () =>
    trainBpeTokenizer({ documents: readDocuments({ files, separator: '<|endoftext|>' }), vocabSize: 4096 });
  const tokenizer = await train();
  expect(tokenizer.vocabSize).toBe(4096);
  const ids = await tokenizer.encode('Once upon a time, there was a little girl');
  expect(ids).toHaveLength(11);
  expect((await train()).sha256).toBe(tokenizer.sha256);
});
