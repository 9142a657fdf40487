import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { documentFilter, estimatedTokens, LengthCounter } from './length-upsampling.ts';
import { prepareTokens } from './prepare.ts';
import type { PrepareTokensOptions } from './prepare-options.ts';
import { isBuilt, openForTest, temporaryFolder, tinyTokenizer } from './testing.ts';

/** Sources of documents with given numbers of words; the first word identifies the document. */
function mix(sources: Record<string, number[]>, options: Partial<PrepareTokensOptions> = {}) {
  const folder = temporaryFolder();
  const named = Object.entries(sources).map(([name, lengths], source) => {
    const files = join(folder, `${name}.jsonl`);
    const texts = lengths.map((words, i) => `${name}${i} ${'and '.repeat(words)}`);
    writeFileSync(files, texts.map((text) => `${JSON.stringify({ text })}\n`).join(''));
    return { name, files, share: source + 1 };
  });
  const outputDirectory = join(folder, 'out');
  return () =>
    prepareTokens({ sources: named, tokenizer: tinyTokenizer, outputDirectory, workers: 0, ...options });
}

/** The names of the documents in the order of the stream. */
async function documents(directory: string): Promise<string[]> {
  const dataset = openForTest(directory);
  const texts = Array.from({ length: dataset.numDocuments }, (_, i) =>
    tinyTokenizer.decode(dataset.readDocument(i), { skipSpecialTokens: true }),
  );
  return (await Promise.all(texts)).map((text) => text.split(' ')[0]);
}

const sum = (list: readonly number[]) => list.reduce((total, x) => total + x, 0);

describe('a mix of sources', () => {
  test('property: each has its share of the budget to the token, for all lengths', async () => {
    const lengths = fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 20 });
    const property = fc.asyncProperty(
      lengths,
      lengths,
      lengths,
      fc.integer({ min: 60, max: 900 }),
      async (a, b, c, tokenBudget) => {
        const { mix: statistics, numTokens, directory } = await mix({ a, b, c }, { tokenBudget })();
        const budgets = [1, 2, 3].map((share) => Math.round((tokenBudget * share) / 6));
        expect(statistics!.map((source) => source.numTokens)).toEqual(budgets);
        expect(numTokens).toBe(sum(budgets));
        const found = await documents(directory);
        for (const { name, read, kept, passes } of statistics!) {
          const own = found.filter((document) => document.startsWith(name));
          // All of them in order, repeatedly.
          const files = { a, b, c }[name as 'a']!.length;
          expect(own.slice(0, -1)).toEqual(own.slice(0, -1).map((_, i) => `${name}${i % files}`));
          // A document truncated after its first token has no name.
          expect(sum(read.documents) - own.length).toBeLessThanOrEqual(1);
          expect(sum(read.documents)).toBeGreaterThanOrEqual(own.length);
          expect(kept).toEqual(read);
          expect(passes).toBe(Math.ceil(sum(read.documents) / files));
        }
      },
    );
    await fc.assert(property, { numRuns: 8 });
  });

  test('any part of the stream has the shares of the whole', async () => {
    // A batch is 512K characters, about a quarter of this.
    const long = Array.from({ length: 12 }, () => 15_000);
    const { directory, numTokens } = await mix({ a: long, b: long }, { tokenBudget: 480_000 })();
    const dataset = openForTest(directory);
    let [tokens, ofA] = [0, 0];
    for (let i = 0; tokens < numTokens / 2; i++) {
      const document = dataset.readDocument(i);
      tokens += document.length;
      const text = await tinyTokenizer.decode(document.subarray(0, 8), { skipSpecialTokens: true });
      if (text.startsWith('a')) ofA += document.length;
    }
    expect(Math.abs(ofA / tokens - 1 / 3)).toBeLessThan(0.25);
  });

  test.skipIf(!isBuilt)('is the same for any number of workers, and found again by fingerprint', async () => {
    const lengths = Array.from({ length: 60 }, (_, i) => (i * 37) % 500);
    const options = { tokenBudget: 12_000, lengthUpsampling: { minLength: 300 }, seed: 3 };
    const run = mix({ a: lengths, b: lengths.toReversed() }, options);
    const first = await run();
    expect(first.reused).toBe(false);
    expect(await run()).toEqual({ ...first, reused: true });
    const other = await mix({ a: lengths, b: lengths.toReversed() }, { ...options, workers: 2 })();
    expect(other.fingerprint).toBe(first.fingerprint);
    expect(other.mix).toEqual(first.mix);
    const [x, y] = [first, other].map(({ directory }) => openForTest(directory));
    expect(y.readTokens(0, y.numTokens)).toEqual(x.readTokens(0, x.numTokens));
    for (const change of [{ seed: 4 }, { tokenBudget: 12_001 }, { lengthUpsampling: { minLength: 301 } }]) {
      const changed = await mix({ a: lengths, b: lengths.toReversed() }, { ...options, ...change })();
      expect(changed.fingerprint).not.toBe(first.fingerprint);
    }
  });

  test.each([
    [{ sources: [] }, 'sources: got none, expected at least one'],
    [{ tokenBudget: undefined }, 'tokenBudget: got undefined, expected a whole number of tokens'],
    [{ tokenBudget: 0 }, 'tokenBudget: got 0'],
    [{ files: 'x.jsonl' }, 'prepareTokens: got files and sources, expected one of them'],
    [{ sources: undefined }, 'prepareTokens: got neither files nor sources, expected one of them'],
    [
      { sources: undefined, files: 'x.jsonl' },
      'tokenBudget: got 100 with files, expected it only with sources',
    ],
    [
      { lengthUpsampling: { keepShorter: 2 } },
      'lengthUpsampling.keepShorter: got 2, expected a number from 0 to 1',
    ],
    [
      { lengthUpsampling: { minLength: -1 } },
      'lengthUpsampling.minLength: got -1, expected a number of tokens',
    ],
    [
      { lengthUpsampling: { keepShorter: 0 } },
      'source a: none of its 2 documents is kept, its budget of 100 tokens',
    ],
    [{ seed: 0.5 }, 'seed: got 0.5, expected a whole number'],
  ])('%j is refused', async (options, message) => {
    await expect(mix({ a: [1, 2] }, { tokenBudget: 100, ...options })()).rejects.toThrow(message);
  });
});

describe('length upsampling', () => {
  const short = Array.from({ length: 2000 }, () => 10);

  test('keeps every long document and the wanted part of the short ones, chosen by the seed', () => {
    const choose = (seed: number) => {
      const lengths = short.map((words, i) => (i % 100 === 7 ? 5000 : words));
      const keeps = documentFilter({}, seed);
      return lengths.flatMap((words, i) => (keeps(words * 4, 0, 0, i) ? [i] : []));
    };
    const [kept, again, other] = [choose(1), choose(1), choose(2)];
    expect(kept).toEqual(again);
    expect(kept).not.toEqual(other);
    const long = short.flatMap((_, i) => (i % 100 === 7 ? [i] : []));
    expect(kept).toEqual(expect.arrayContaining(long));
    // 1980 draws with p = .1: 198 ± 13.
    expect(Math.abs(kept.length - long.length - 198)).toBeLessThan(4 * 13.4);
  });

  test('draws differently in each pass and each source', () => {
    const keeps = documentFilter({ keepShorter: 0.5 }, 0);
    const draw = (source: number, pass: number) => short.map((_, i) => keeps(1, source, pass, i));
    const draws = [draw(0, 0), draw(0, 1), draw(1, 0)];
    expect(new Set(draws.map((list) => list.join())).size).toBe(3);
    expect(keeps(4096 * 3.68, 0, 0, 0)).toBe(true);
  });

  test('of plain files makes one pass and counts lengths before and after', async () => {
    const lengths = [10, 5000, 20, 6000, 30];
    const folder = temporaryFolder();
    const files = join(folder, 'a.jsonl');
    writeFileSync(files, lengths.map((n) => JSON.stringify({ text: 'and '.repeat(n) })).join('\n'));
    const options = { files, tokenizer: tinyTokenizer, outputDirectory: join(folder, 'out') };
    const plain = await prepareTokens(options);
    expect(plain.mix).toBeUndefined();
    const { mix: statistics, numDocuments } = await prepareTokens({
      ...options,
      lengthUpsampling: { keepShorter: 0 },
    });
    expect(numDocuments).toBe(2);
    expect(statistics).toMatchObject([{ name: 'files', budget: null, passes: 1, realisedShare: 1 }]);
    const [{ read, kept }] = statistics!;
    expect([sum(read.documents), sum(kept.documents)]).toEqual([5, 2]);
    expect(kept.tokens.map((n, bin) => [read.bounds[bin], n]).filter(([, n]) => n! > 0)).toEqual([
      [8192, Math.round(estimatedTokens(4 * 11_000))],
    ]);
  });

  test('a histogram has the documents of each length', () => {
    const counter = new LengthCounter();
    for (const tokens of [0, 255.9, 256, 4096, 262_143, 262_144, 1e9]) counter.add(tokens * 3.68);
    const { bounds, documents } = counter.histogram();
    const bins = [...bounds, Number.POSITIVE_INFINITY].flatMap((bound, i) =>
      documents[i] ? [[bound, documents[i]]] : [],
    );
    expect(bins).toEqual([
      [256, 2],
      [512, 1],
      [8192, 1],
      [262_144, 1],
      [Number.POSITIVE_INFINITY, 2],
    ]);
  });
});
