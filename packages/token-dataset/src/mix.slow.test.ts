import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createBatches } from './batches.ts';
import { readDocuments } from './documents.ts';
import { estimatedTokens } from './length-upsampling.ts';
import { prepareTokens } from './prepare.ts';
import { hasRealData, openForTest, realData, temporaryFolder } from './testing.ts';
import { loadTokenizer } from './tokenizer.ts';

const sum = (list: readonly number[]) => list.reduce((total, x) => total + x, 0);

test.skipIf(!hasRealData)(
  'LitBank and C4: shares within 1 %, lengths as drawn, the same rows again',
  async () => {
    const c4 = realData('text/c4_train.jsonl');
    const sources = [
      { name: 'litbank', files: realData('text/litbank/*.txt'), share: 0.6 },
      { name: 'c4', files: c4, share: 0.4 },
    ];
    const tokenBudget = 500_000;
    const prepare = () =>
      prepareTokens({
        sources,
        tokenBudget,
        lengthUpsampling: {},
        seed: 1,
        tokenizer: loadTokenizer(realData('tokenizers/llama2')),
        outputDirectory: join(temporaryFolder(), 'out'),
      });
    const [first, again] = [await prepare(), await prepare()];
    for (const { share, realisedShare, numTokens } of first.mix!) {
      expect(Math.abs(realisedShare / share - 1)).toBeLessThan(0.01);
      expect(Math.abs(numTokens / tokenBudget / share - 1)).toBeLessThan(0.01);
    }

    // The reference is a plain count of the source's documents.
    const lengths: number[] = [];
    for await (const { text } of readDocuments({ files: c4 })) lengths.push(text.length);
    const isShort = (characters: number) => estimatedTokens(characters) < 4096;
    const [, { read, kept, passes }] = first.mix!;
    expect(passes).toBeGreaterThan(2);
    const bin = read.bounds.indexOf(4096);
    const below = (list: readonly number[]) => sum(list.slice(0, bin + 1));
    const [shortRead, shortKept] = [below(read.documents), below(kept.documents)];
    const perPass = lengths.filter(isShort).length;
    expect(shortRead).toBeGreaterThan((passes - 1) * perPass);
    expect(shortRead).toBeLessThanOrEqual(passes * perPass);
    const deviation = Math.sqrt(shortRead * 0.1 * 0.9);
    expect(Math.abs(shortKept - 0.1 * shortRead)).toBeLessThan(4 * deviation);
    expect(sum(kept.documents) - shortKept).toBe(sum(read.documents) - shortRead);

    const rows = ({ directory }: { directory: string }) => {
      const dataset = openForTest(directory);
      const batches = createBatches(dataset, { sequenceLength: 8192, batchSize: 1, seed: 5 });
      const hash = createHash('sha256');
      for (let i = 0; i < batches.rowsPerEpoch; i++) hash.update(batches.next().value!.inputs);
      return hash.digest('hex');
    };
    expect(again).toEqual({ ...first, directory: again.directory });
    expect(rows(again)).toBe(rows(first));
  },
);
