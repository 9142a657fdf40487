import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { mean } from './aggregation.ts';
import { compareRuns, type RunResults } from './compare-runs.ts';
import { EvalsError } from './error.ts';
import { summarize, type TaskResult } from './result.ts';

const higherIsBetter: Readonly<Record<string, boolean>> = { m: true, loss: false };

/** A task of two rows, whose mean is the value of each metric; undefined measures nothing. */
function task(name: string, values: Readonly<Record<string, number | undefined>>): TaskResult {
  const metrics = Object.keys(values).map((name) => ({
    name,
    higherIsBetter: higherIsBetter[name],
    aggregation: mean,
  }));
  const samples = [-1, 1].map((step, i) => ({
    id: `${i}`,
    shown: {},
    answers: [],
    measured: Object.fromEntries(
      Object.entries(values).flatMap(([metric, value]) =>
        value === undefined ? [] : [[metric, { value: value + step / 4 }]],
      ),
    ),
  }));
  return {
    task: name,
    version: 1,
    model: { name: 'model', fingerprint: '', contextLength: 8 },
    config: { seed: 0 },
    metrics: metrics.map((metric) => ({ ...metric, aggregation: metric.aggregation.name })),
    results: summarize(metrics, samples),
    groups: {},
    skipped: [],
    samples,
  };
}

/** A run of a model of its own. */
function run(name: string, ...tasks: TaskResult[]): RunResults {
  return { name, tasks: tasks.map((task) => ({ ...task, model: { ...task.model, fingerprint: name } })) };
}

const side = (name: string, values: readonly number[]) =>
  values.map((m, i) => run(`${name}${i + 1}`, task('toy', { m })));

describe('compareRuns', () => {
  it('gives means, deviations, the difference and its test, corrected over all metrics', () => {
    const values = (name: string, m: number[], loss: number[], other: number[]) =>
      m.map((value, i) =>
        run(`${name}${i + 1}`, task('toy', { m: value, loss: loss[i] }), task('more', { m: other[i] })),
      );
    const compared = compareRuns(
      values('a', [1, 2, 3], [5, 5, 5], [0, 0, 0]),
      values('b', [2, 4, 6], [6, 4, 5], [4, 1, -3]),
    );
    expect(compared).toMatchObject({
      pairs: [
        ['a1', 'b1'],
        ['a2', 'b2'],
        ['a3', 'b3'],
      ],
      smallestPValue: 0.25,
      notCompared: [],
    });
    const [m, loss, more] = compared.metrics;
    expect(m).toMatchObject({ task: 'toy', metric: 'm', higherIsBetter: true, isExact: true });
    expect(m.a).toEqual({ values: [1, 2, 3], numItems: [2, 2, 2], mean: 2, standardDeviation: 1 });
    expect(m.b).toEqual({ values: [2, 4, 6], numItems: [2, 2, 2], mean: 4, standardDeviation: 2 });
    // Differences 1, 2, 3; t of two degrees of freedom is 4.302653 at 95 %, the standard error 1 / √3.
    expect(m.difference).toBeCloseTo(2, 12);
    expect(m.interval![0]).toBeCloseTo(2 - 4.302653 / Math.sqrt(3), 6);
    expect(m.interval![1]).toBeCloseTo(2 + 4.302653 / Math.sqrt(3), 6);
    // 1, −1, 0: any signs are as far from 0. 4, 1, −3: ±2 or more in 6 of 8 assignments.
    expect(compared.metrics.map(({ pValue }) => pValue)).toEqual([0.25, 1, 0.75]);
    expect(loss).toMatchObject({ metric: 'loss', higherIsBetter: false, difference: 0 });
    expect(more).toMatchObject({ task: 'more', metric: 'm' });
    expect(compared.metrics.map(({ adjusted }) => adjusted)).toEqual([0.75, 1, 1]);
  });

  it('has SciPy’s paired interval', () => {
    const { pairs } = JSON.parse(
      readFileSync(new URL('../fixtures/statistics.json', import.meta.url), 'utf8'),
    );
    const { a, b, paired } = pairs.find(({ name }: { name: string }) => name === 'few');
    const [{ interval, difference }] = compareRuns(side('b', b), side('a', a)).metrics;
    expect(interval![0]).toBeCloseTo(paired.interval[0], 9);
    expect(interval![1]).toBeCloseTo(paired.interval[1], 9);
    expect(difference).toBeCloseTo((interval![0] + interval![1]) / 2, 9);
  });

  it('has no interval of two pairs, or of equal differences', () => {
    for (const count of [2, 4]) {
      const a = Array.from({ length: count }, (_, i) => i / 4);
      const b = a.map((value) => value + 0.25);
      const [metric] = compareRuns(side('a', a), side('b', b)).metrics;
      expect(metric).toMatchObject({ difference: 0.25, pValue: 2 ** (1 - count), interval: undefined });
    }
  });

  it('has SciPy’s permutation test, and pairs by order', () => {
    const { differences } = JSON.parse(
      readFileSync(new URL('../fixtures/run-statistics.json', import.meta.url), 'utf8'),
    );
    const { values, signFlip } = differences.find(({ name }: { name: string }) => name === 'eight');
    // Seeds far apart, which a test of unpaired runs would not see through.
    const a = values.map((_: number, i: number) => 100 * i);
    const b = values.map((value: number, i: number) => value + 100 * i);
    expect(compareRuns(side('a', a), side('b', b)).metrics[0].pValue).toBeCloseTo(signFlip, 9);
    expect(compareRuns(side('a', a), side('b', b.toReversed())).metrics[0].pValue).toBeGreaterThan(0.5);
  });

  it('leaves out metrics without a finite value in every run', () => {
    const of = (name: string, m: number | undefined, loss: number) =>
      run(name, task('toy', { m, loss }), task('more', { m: 1 }));
    const { metrics, notCompared } = compareRuns(
      [of('a1', 1, 1), of('a2', undefined, 2)],
      [of('b1', 2, 3), of('b2', 1, Number.POSITIVE_INFINITY)],
    );
    expect(metrics.map(({ task, metric }) => `${task} ${metric}`)).toEqual(['more m']);
    expect(notCompared).toEqual([
      { task: 'toy', metric: 'm' },
      { task: 'toy', metric: 'loss' },
    ]);
  });

  const toy = task('toy', { m: 1 });
  const rows = { ...toy, samples: [toy.samples[0], { ...toy.samples[1], id: 'x' }] };
  it.each<[string, RunResults[], RunResults[], RegExp]>([
    [
      'sides of different sizes',
      side('a', [1, 2, 3]),
      side('b', [1, 2]),
      /got 3 and 2 runs, expected the same/,
    ],
    ['one pair', side('a', [1]), side('b', [2]), /got 1 run a side, expected at least 2/],
    ['no tasks', [run('a1'), run('a2')], [run('b1'), run('b2')], /got no tasks in a1/],
    [
      'other tasks',
      side('a', [1, 2]),
      [run('b1', toy), run('b2', toy, task('more', { m: 1 }))],
      /tasks: got toy in a1 and more, toy in b2, expected the same in every run/,
    ],
    [
      'another version',
      [run('a1', toy), run('a2', { ...toy, version: 2 })],
      side('b', [1, 2]),
      /version of toy: got 1 in a1 and 2 in a2/,
    ],
    [
      'other settings',
      side('a', [1, 2]),
      [run('b1', { ...toy, config: { seed: 0, bos: true } }), run('b2', toy)],
      /bos of toy: got undefined in a1 and true in b1/,
    ],
    [
      'other rows',
      side('a', [1, 2]),
      [run('b1', toy), run('b2', rows)],
      /rows of toy, of which 1 are common: got 2 in a1 and 2 in b2/,
    ],
    [
      'fewer rows',
      side('a', [1, 2]),
      [run('b1', toy), run('b2', { ...toy, samples: toy.samples.slice(1) })],
      /rows of toy, of which 1 are common: got 2 in a1 and 1 in b2/,
    ],
    [
      'other tokens in rows of one id',
      [
        run('a1', { ...toy, samples: toy.samples.map((sample) => ({ ...sample, tokens: '1' })) }),
        run('a2', toy),
      ],
      [
        run('b1', { ...toy, samples: toy.samples.map((sample) => ({ ...sample, tokens: '2' })) }),
        run('b2', toy),
      ],
      /toy of a1 and b1: row 0 has other tokens in each/,
    ],
    [
      'one model twice',
      side('a', [1, 2]),
      [run('b1', toy), { ...run('b1', toy), name: 'copy' }],
      /got b1 and copy, which evaluated the same model/,
    ],
  ])('refuses %s', (_, a, b, message) => {
    expect(() => compareRuns(a, b)).toThrow(EvalsError);
    expect(() => compareRuns(a, b)).toThrow(message);
  });
});
