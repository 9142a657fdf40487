import { correctPValues, type MetricOverRuns, type ResultComparison, type RunsComparison } from '@meap/evals';
import { describe, expect, it } from 'vitest';
import { renderComparisons } from './comparison-table.ts';
import { notesOnRuns, numRows, renderRunsComparison } from './runs-table.ts';

const spread = (values: number[], numItems = values.map(() => 9)) => ({
  values,
  numItems,
  mean: values[0],
  standardDeviation: 0.25,
});

function comparison(numPairs: number, numMetrics: number): RunsComparison {
  const values = Array.from({ length: numPairs }, () => 0.5);
  const metric: MetricOverRuns = {
    task: 'piqa',
    metric: 'acc',
    higherIsBetter: true,
    a: spread(values),
    b: spread(values.map((value) => value + 0.125)),
    difference: 0.125,
    interval: [-0.25, 0.5],
    pValue: 0.25,
    isExact: true,
    adjusted: 1,
  };
  return {
    pairs: values.map((_, i) => [`a${i + 1}`, `b${i + 1}`]),
    smallestPValue: 2 ** (1 - numPairs),
    metrics: Array.from({ length: numMetrics }, () => metric),
    notCompared: [],
  };
}

describe('renderRunsComparison', () => {
  it('shows pairs, means with deviations, the difference and both p-values', () => {
    const lines = renderRunsComparison(comparison(3, 1)).split('\n');
    expect(lines.slice(0, 3)).toEqual([
      'pair 1       A a1, B b1',
      'pair 2       A a2, B b2',
      'pair 3       A a3, B b3',
    ]);
    expect(lines.find((line) => line.includes('piqa'))!.split(/ *\| */)).toEqual([
      ...['', 'piqa', '9', 'acc', '↑', '0.5000 ± 0.2500', '0.6250 ± 0.2500'],
      ...['+0.1250', '-0.2500 … +0.5000', '0.2500', '1.0000', ''],
    ]);
  });

  it.each([
    [3, 1, ['too few runs to test: 3 pairs can give no p below 0.25, before the correction']],
    [5, 4, ['too few runs to test: 5 pairs can give no p below 0.0625, before the correction']],
    [6, 1, []],
    [
      6,
      2,
      ['too few runs to test 2 metrics: 6 pairs can give no p below 0.0313, 0.0625 after the correction'],
    ],
    [7, 3, []],
  ])('says whether %i pairs can show anything on %i metrics', (numPairs, numMetrics, notes) => {
    expect(notesOnRuns(comparison(numPairs, numMetrics))).toEqual(notes);
  });

  it('names metrics that are left out', () => {
    const notCompared = [{ task: 'niah', metric: 'f1' }];
    expect(notesOnRuns({ ...comparison(8, 1), notCompared })).toEqual([
      'niah: f1 is left out, since not every run has a finite value',
    ]);
  });

  it('shows a range where runs have different numbers of rows with a metric', () => {
    expect(numRows({ a: spread([1, 1], [98, 100]), b: spread([1, 1], [100, 99]) })).toBe('98–100');
  });
});

it('rows of two models: columns without a value are left out, p-values corrected without groups', () => {
  const compared = { a: 0.5, b: 0.6, difference: 0.1, points: 10, numItems: 30, higherIsBetter: true };
  const comparison = (task: string, metrics: ResultComparison['metrics']): ResultComparison => ({
    ...{
      task,
      version: 1,
      a: 'A',
      b: 'B',
      differentConfig: [],
      numOnlyA: 0,
      numOnlyB: 0,
      notCompared: [],
      metrics,
    },
  });
  const groups = { depth: [{ ...compared, value: 50, pValue: 0.001 }] };
  const tested = correctPValues([
    comparison('x', { acc: { ...compared, pValue: 0.01, groups }, f1: { ...compared, groups: {} } }),
    comparison('y', { acc: { ...compared, pValue: 0.04, groups: {} } }),
  ]);
  const table = renderComparisons(tested);
  expect(table).toContain('|   B − A |      p | p, Holm |');
  const ends = table
    .split('\n')
    .flatMap((line) => /^\| (?!:|Tasks)(.*?) +\| .* \| *(\S*) \| *(\S*) \|$/.exec(line) ?? []);
  expect(ends.filter((_, i) => i % 4 > 0)).toEqual([
    ...['x', '0.0100', '0.0200'],
    ...[' - depth 50', '0.0010', ''],
    ...['x', '–', '–'],
    ...['y', '0.0400', '0.0400'],
  ]);
});
