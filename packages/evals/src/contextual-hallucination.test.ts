import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { contextualHallucination } from './contextual-hallucination.ts';
import { EvalsError } from './error.ts';
import { evaluate } from './evaluate.ts';
import type { Judge, JudgeCase } from './judge.ts';
import { overlapJudge } from './overlap-judge.ts';
import { characters, functionModel } from './testing.ts';

const xsum = `${process.env.MEAP_DATA}/summarisation/xsum.first200.jsonl`;

/** Generates a function of the prompt. */
function writer(write: (prompt: string) => string, contextLength = 10_000) {
  const model = functionModel(() => ({ logLikelihood: 0, isGreedy: false }), { contextLength });
  model.generate = async (requests) =>
    requests.map(({ prompt }) => {
      const text = write(characters.decode(prompt));
      return { text, ids: characters.encode(text), finish: 'stop' };
    });
  return model;
}

describe('contextualHallucination', () => {
  const row = { document: 'It rained in Wales.', summary: 'Rain in Wales.' };

  test('requests a summary in the paper’s words and judges it', async () => {
    const cases: JudgeCase[] = [];
    const judge: Judge = {
      ...overlapJudge(),
      async judge(judgeCase) {
        cases.push(judgeCase);
        return { measured: { unsupported_words: { value: 0.25 } }, explanation: 'because' };
      },
    };
    const rows = [
      row,
      { article: 'B', highlights: 'b' },
      { article: 'C', summary: 'c' },
      { context: 'D', answers: ['d'] },
    ];
    const promptTemplate = '### Instruction:\n{instruction}\n\n### Response:\n';
    const task = contextualHallucination({ dataSet: 'xsum', rows, judge, promptTemplate });
    const result = await evaluate(
      task,
      writer((prompt) => ` ${prompt.length} `),
    );
    expect(result).toMatchObject({ task: 'hallucination_xsum', numRows: 4 });
    expect(result.results.unsupported_words).toMatchObject({ value: 0.25, numItems: 4 });
    // No row had a number.
    expect(result.results).not.toHaveProperty('unsupported_numbers');
    const { prompt } = result.samples[0].shown;
    expect(prompt).toBe(
      '### Instruction:\nSummarize the following article: It rained in Wales.\n\n### Response:\n',
    );
    expect(result.samples[0].shown.judgement).toBe('because');
    expect(cases).toEqual([
      { output: `${(prompt as string).length}`, article: 'It rained in Wales.', reference: 'Rain in Wales.' },
      expect.objectContaining({ article: 'B', reference: 'b' }),
      expect.objectContaining({ article: 'C', reference: 'c' }),
      expect.objectContaining({ article: 'D', reference: 'd' }),
    ]);
  });

  test('draws articles as Python does, the same for every model', async () => {
    const rows = Array.from({ length: 200 }, (_, i) => ({ document: `${i}`, summary: 's' }));
    const draw = async (numArticles: number, seed?: number) => {
      const task = contextualHallucination({ dataSet: 'x', rows, numArticles, seed, judge: overlapJudge() });
      const { samples, config, numRows } = await evaluate(task, writer(String));
      return { ids: samples.map(({ id }) => Number(id)), config, numRows };
    };
    // python -c "import random; print(random.Random(0).sample(range(200), 8), random.Random(7).sample(range(200), 5))"
    const drawn = await draw(8);
    expect(drawn.ids).toEqual([98, 194, 107, 10, 66, 130, 124, 103]);
    expect(drawn).toMatchObject({ config: { numArticles: 8, seed: 0 }, numRows: 8 });
    expect((await draw(5, 7)).ids).toEqual([82, 38, 101, 166, 12]);
    expect(new Set((await draw(500)).ids).size).toBe(200);
  });

  test('an article is a text, not a pattern', async () => {
    const rows = [{ document: "$& $' {instruction}", summary: 's' }];
    const task = contextualHallucination({ dataSet: 'x', rows, judge: overlapJudge() });
    const [item] = task.items(writer(() => ''));
    expect(item.shown.prompt).toBe("Summarize the following article: $& $' {instruction}");
  });

  test('skips prompts that leave no room for the summary', async () => {
    const task = contextualHallucination({
      dataSet: 'x',
      rows: [row],
      judge: overlapJudge(),
      maxNewTokens: 48,
    });
    const length = 'Summarize the following article: It rained in Wales.'.length;
    const short = await evaluate(
      task,
      writer(() => '', length + 47),
    );
    expect(short.skipped[0].reason).toBe('prompt of 52 tokens leaves 47 of 99, expected 48');
    expect(
      (
        await evaluate(
          task,
          writer(() => '', length + 48),
        )
      ).skipped,
    ).toEqual([]);
  });

  test('refuses a row without article', async () => {
    const task = contextualHallucination({
      dataSet: 'xsum',
      rows: [row, { text: 'a' }],
      judge: overlapJudge(),
    });
    await expect(
      evaluate(
        task,
        writer(() => ''),
      ),
    ).rejects.toThrow(EvalsError);
    await expect(
      evaluate(
        task,
        writer(() => ''),
      ),
    ).rejects.toThrow(/^xsum, row 1: field document is wrong/);
  });
});

describe('overlapJudge', () => {
  const judge = async (article: string, output: string) => {
    const { measured, explanation } = await overlapJudge().judge({ article, output, reference: '' });
    const { unsupported_words: words, unsupported_numbers: numbers } = measured;
    return { words: words?.value, numbers: numbers?.value, explanation };
  };
  const article = 'Ada Lovelace’s notes, 1,843 pages in 3.5 volumes, were sold in London on 7 May.';

  test.each([
    ['The notes of Ada Lovelace were sold.', 0, undefined],
    ['ADA LOVELACE SOLD A NOTE', 0, undefined],
    ['1843 pages in 3.5 volumes', 0, 0],
    ['Notes sold in Paris', 1 / 3, undefined],
    ['8 pages on 7 May', 0, 1 / 2],
    ['London London London Rome', 1 / 2, undefined],
    ['35 volumes', 0, 1],
    ['It was.', undefined, undefined],
    ['', undefined, undefined],
  ])('%j', async (output, words, numbers) => {
    const got = await judge(article, output);
    expect([got.words, got.numbers]).toEqual([words, numbers]);
  });

  test('lists missing words and numbers', async () => {
    expect((await judge(article, 'Notes sold in Paris for 9 pounds')).explanation).toBe(
      'not in the article: paris, pounds, 9',
    );
  });

  test('supports an article by itself; shares are from 0 to 1', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), async (a, b) => {
        const same = await judge(a, a);
        expect([same.words ?? 0, same.numbers ?? 0]).toEqual([0, 0]);
        const part = await judge(`${a} ${b}`, a);
        expect([part.words ?? 0, part.numbers ?? 0]).toEqual([0, 0]);
        const { words = 0, numbers = 0 } = await judge(a, b);
        expect(Math.min(words, numbers)).toBeGreaterThanOrEqual(0);
        expect(Math.max(words, numbers)).toBeLessThanOrEqual(1);
      }),
      { numRuns: 40 },
    );
  });

  test.skipIf(!existsSync(xsum))('distinguishes summaries of an article from those of the next', async () => {
    const rows: { document: string; summary: string }[] = readFileSync(xsum, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    let [own, other] = [0, 0];
    for (const [index, { document }] of rows.entries()) {
      const next = rows[(index + 1) % rows.length];
      own += (await judge(document, rows[index].summary)).words! / rows.length;
      other += (await judge(document, next.summary)).words! / rows.length;
    }
    expect(own).toBeLessThan(0.5);
    expect(other).toBeGreaterThan(0.75);
  });
});
