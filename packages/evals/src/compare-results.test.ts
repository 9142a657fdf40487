import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bitsPerByte, mean, perplexity, weightedPerplexity } from './aggregation.ts';
import { compareResults, correctPValues } from './compare-results.ts';
import { EvalsError } from './error.ts';
import { evaluate } from './evaluate.ts';
import { perplexityTask } from './perplexity.ts';
import { perplexityByPositionTask } from './perplexity-by-position.ts';
import { type Sample, summarize, type TaskResult } from './result.ts';
import { criticalT, twoSidedCoin } from './student-t.ts';
import type { Aggregation, Measured } from './task.ts';
import { characters, functionModel } from './testing.ts';

/** A result with one metric, of rows `0`, `1`, … */
function result(
  name: string,
  items: readonly (Measured | undefined)[],
  more: { aggregation?: Aggregation; groups?: Sample['groups'][]; config?: object; ids?: string[] } = {},
): TaskResult {
  const { aggregation = mean, groups = [], config = {}, ids } = more;
  const metric = { name: 'm', higherIsBetter: true, aggregation };
  const samples = items.map((item, i) => ({
    id: ids?.[i] ?? `${i}`,
    ...(groups[i] ? { groups: groups[i] } : {}),
    shown: {},
    answers: [],
    measured: item ? { m: item } : ({} as Record<string, Measured>),
  }));
  return {
    task: 'toy',
    version: 1,
    model: { name, fingerprint: name, contextLength: 8 },
    config: { ...config },
    metrics: [{ ...metric, aggregation: aggregation.name }],
    results: summarize([metric], samples),
    groups: {},
    skipped: [],
    samples,
  };
}

const values = (numbers: readonly number[]) => numbers.map((value) => ({ value }));

describe('compareResults', () => {
  const scipy = JSON.parse(readFileSync(new URL('../fixtures/statistics.json', import.meta.url), 'utf8'));

  test.each(['large offset', 'different scales'])('of means is SciPy’s paired t-test: %s', (name) => {
    const { a, b, paired } = scipy.pairs.find((pair: { name: string }) => pair.name === name);
    const { m } = compareResults(result('a', values(b)), result('b', values(a))).metrics;
    expect(m.pValue).toBeCloseTo(paired.pValue, 9);
    expect(m.interval![0]).toBeCloseTo(paired.interval[0], 9);
    expect(m.interval![1]).toBeCloseTo(paired.interval[1], 9);
    expect(m).toMatchObject({ test: 'paired-t', numItems: a.length, higherIsBetter: true });
  });

  test('of up to 20 rows is SciPy’s permutation test, without an interval', () => {
    const { differences } = JSON.parse(
      readFileSync(new URL('../fixtures/run-statistics.json', import.meta.url), 'utf8'),
    );
    const { values: b, signFlip } = differences.find(({ name }: { name: string }) => name === 'eight');
    const zeros = b.map(() => 0);
    const { m } = compareResults(result('a', values(zeros)), result('b', values(b))).metrics;
    expect(m).toMatchObject({ test: 'sign-flip', numItems: 8 });
    expect(m.pValue).toBeCloseTo(signFlip, 9);
    expect(m).not.toHaveProperty('interval');
  });

  test.each([
    // Outcomes of two rows, and of many, that a t-test would call certain.
    [2, 0.1, 0.5],
    [21, 0.1, 2 ** -20],
    [300, 0, 1],
  ])('of %i rows with the difference %d has the exact p and no interval', (count, step, pValue) => {
    const rows = Array.from({ length: count }, (_, i) => 0.1 * (i % 7));
    const b = rows.map((value) => value + step);
    const { m } = compareResults(result('a', values(rows)), result('b', values(b))).metrics;
    expect(m.pValue).toBeCloseTo(pValue, 12);
    expect(m.test).toBe('sign-flip');
    expect(m).not.toHaveProperty('interval');
  });

  test('of ones and zeros is McNemar’s exact test', () => {
    const { m } = compareResults(
      result('a', values([1, 1, 0, 0, 0, 0])),
      result('b', values([0, 1, 1, 1, 1, 1])),
    ).metrics;
    expect(m).toMatchObject({ test: 'mcnemar', a: 2 / 6, b: 5 / 6, pValue: twoSidedCoin(4, 1) });
    expect(m.points).toBeCloseTo(50, 9);
    expect(m.relativePercent).toBeCloseTo(150, 9);
  });

  test.each([perplexity, weightedPerplexity, bitsPerByte])(
    'of $name has its totals and, against rows without spread, its standard error',
    (aggregation) => {
      const item = fc.record({
        value: fc.double({ min: -9, max: -0.01, noNaN: true }),
        weight: fc.integer({ min: 1, max: 9 }),
      });
      fc.assert(
        fc.property(fc.array(item, { minLength: 21, maxLength: 40 }), (items) => {
          const isWeighted = aggregation !== perplexity;
          const even = items.map(({ weight }) => ({ value: isWeighted ? -weight : -1, weight }));
          const [a, b] = [result('a', even, { aggregation }), result('b', items, { aggregation })];
          const { m } = compareResults(a, b).metrics;
          expect(m.a).toBeCloseTo(a.results.m.value, 9);
          expect(Math.abs(m.b / b.results.m.value - 1)).toBeLessThan(1e-9);
          fc.pre(m.interval !== undefined);
          const reach = criticalT(0.05, items.length - 1) * b.results.m.standardError!;
          const half = (m.interval![1] - m.interval![0]) / 2;
          expect(Math.abs(half - reach)).toBeLessThanOrEqual(1e-9 * (reach + 1));
        }),
      );
    },
  );

  test('swapping the two inverts the difference', () => {
    const numbers = (length: number) =>
      fc.array(fc.double({ min: -9, max: 9, noNaN: true }), { minLength: length, maxLength: length });
    const sides = fc.constantFrom(4, 24).chain((length) => fc.tuple(numbers(length), numbers(length)));
    fc.assert(
      fc.property(sides, ([x, y]) => {
        const forth = compareResults(result('a', values(x)), result('b', values(y))).metrics.m;
        const back = compareResults(result('b', values(y)), result('a', values(x))).metrics.m;
        expect(forth.difference).toBeCloseTo(-back.difference, 9);
        if (forth.interval) expect(forth.interval[0]).toBeCloseTo(-back.interval![1], 9);
        expect(forth.pValue).toBeCloseTo(back.pValue!, 9);
      }),
    );
  });

  test('pairs rows by id, and counts ignored rows', () => {
    const a = result('a', values([5, 1, 2, 3]), { ids: ['x', 'p', 'q', 'r'] });
    const b = result('b', [{ value: 4 }, { value: 2 }, undefined], { ids: ['r', 'p', 'q'] });
    const compared = compareResults(a, b);
    expect(compared).toMatchObject({ a: 'a', b: 'b', numOnlyA: 1, numOnlyB: 0, notCompared: [] });
    expect(compared.metrics.m).toMatchObject({ a: 2, b: 3, difference: 1, numItems: 2, pValue: 0.5 });
  });

  test('compares each group; a single row has no test', () => {
    const groups = [{ position: 1 }, { position: 1 }, { position: 5 }];
    const a = result('a', values([0.2, 0.4, 0]), { groups });
    const b = result('b', values([0.4, 0.5, 1]), { groups });
    const [first, fifth] = compareResults(a, b).metrics.m.groups.position;
    expect(first).toMatchObject({ value: 1, numItems: 2, test: 'sign-flip' });
    expect(first.points).toBeCloseTo(15, 9);
    expect(first.relativePercent).toBeCloseTo(50, 9);
    expect(fifth).toEqual({ value: 5, a: 0, b: 1, difference: 1, points: 100, numItems: 1 });
  });

  test('names what differs in the config, and metrics that cannot be paired', () => {
    const a = result('a', values([1, 2]), { config: { judge: 'x', seed: 1 } });
    const b = result('b', values([1, 2]), { config: { judge: 'y', seed: 1, length: 9 } });
    expect(compareResults(a, b).differentConfig).toEqual(['judge', 'length']);
    const best: Aggregation = { name: 'max', total: () => 2, standardError: () => undefined };
    const [c, d] = ['c', 'd'].map((name) => result(name, values([1, 2]), { aggregation: best }));
    expect(compareResults(c, d)).toMatchObject({ metrics: {}, notCompared: ['m'] });
  });

  test('refuses rows of one id that have other tokens, such as windows of another tokenizer', async () => {
    const model = (shift: number) => ({
      ...functionModel(() => ({ logLikelihood: -1, isGreedy: true }), {
        tokenizer: { ...characters, encode: (text) => characters.encode(text).map((id) => id + shift) },
      }),
    });
    const task = perplexityByPositionTask(['A text of some length.'], { length: 8 });
    const [a, same, other] = await Promise.all([0, 0, 1].map((shift) => evaluate(task, model(shift))));
    expect(Object.keys(compareResults(a, same).metrics)).not.toEqual([]);
    expect(() => compareResults(a, other)).toThrow(
      'compareResults: perplexity_by_position: row 0-0-0 has other tokens in each, expected the same',
    );
    const texts = perplexityTask(['A text.']);
    compareResults(await evaluate(texts, model(0)), await evaluate(texts, model(1)));
  });

  test.each([
    ['another task', { task: 'other' }],
    ['another version', { version: 2 }],
    ['other rows', { samples: [] }],
  ])('refuses %s', (_, other) => {
    const a = result('a', values([1, 2]));
    expect(() => compareResults(a, { ...a, ...other })).toThrow(EvalsError);
  });
});

test('lists the rows that only one has right, up to 20 of each kind, of zeros and ones alone', () => {
  const a = values(Array.from({ length: 60 }, (_, i) => Number(i < 25 || i > 57)));
  const b = values(Array.from({ length: 60 }, (_, i) => Number(i >= 25)));
  const { disagreement } = compareResults(result('a', a), result('b', b)).metrics.m;
  expect(disagreement).toMatchObject({ numOnlyA: 25, numOnlyB: 33 });
  expect(disagreement!.onlyA).toEqual(Array.from({ length: 20 }, (_, i) => String(i)));
  expect(disagreement!.onlyB).toEqual(Array.from({ length: 20 }, (_, i) => String(25 + i)));
  const shares = compareResults(result('a', values([0, 1, 0.5])), result('b', values([1, 0, 0.5])));
  expect(shares.metrics.m).not.toHaveProperty('disagreement');
});

test('corrects the p-values of all tasks together by Holm’s method, and leaves out metrics without a test', () => {
  const few = compareResults(
    result('a', values([0, 0, 0, 0, 0, 0])),
    result('b', values([1, 1, 1, 1, 1, 1])),
  );
  const one = compareResults(result('a', values([0])), result('b', values([1])));
  const equal = compareResults(result('a', values([0, 1])), result('b', values([0, 1])));
  const adjusted = correctPValues([few, one, equal]).map(({ metrics }) => metrics.m.adjusted);
  expect(adjusted).toEqual([expect.closeTo(2 * 2 ** -5, 12), undefined, 1]);
});
