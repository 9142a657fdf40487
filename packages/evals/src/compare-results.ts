/** Compares two results of one task row by row, with tests of significance. */
import { bitsPerByte, mean, perplexity, weightedPerplexity } from './aggregation.ts';
import { EvalsError } from './error.ts';
import type { Sample, TaskResult } from './result.ts';
import { requireSameTokens } from './row-tokens.ts';
import { adjustHolm } from './run-statistics/multiple-comparisons.ts';
import { signFlipTest } from './run-statistics/sign-flip-test.ts';
import { mean as meanOf } from './statistics.ts';
import { mcNemarTest, pairedTTest } from './t-test.ts';
import type { Aggregation, Measured } from './task.ts';

/** A metric of two results, over the rows that both measured. */
export interface MetricComparison {
  readonly a: number;
  readonly b: number;
  /** b minus a. */
  readonly difference: number;
  /** `difference` times 100: percentage points of a share. */
  readonly points: number;
  /** `difference` in percent of a; absent if a is 0. */
  readonly relativePercent?: number;
  /** Rows that both measured. */
  readonly numItems: number;
  /** 95 % confidence interval of the difference (paired t); absent for up to 20 rows, and without variance. */
  readonly interval?: readonly [low: number, high: number];
  /**
   * Two-sided p-value: of McNemar's exact test if every row is 0 or 1; else of the paired t-test, or of the sign-flip test
   * for up to 20 rows and without variance. Absent for a single row.
   */
  readonly pValue?: number;
  readonly test?: 'mcnemar' | 'paired-t' | 'sign-flip';
}

/** Rows that one result has right and the other wrong. */
export interface Disagreement {
  readonly numOnlyA: number;
  readonly numOnlyB: number;
  /** Ids of the first `MAX_LISTED` of each kind. */
  readonly onlyA: readonly string[];
  readonly onlyB: readonly string[];
}

/** A metric over all rows, and over those of each group. */
export interface MetricComparisonByGroup extends MetricComparison {
  readonly higherIsBetter: boolean;
  /** The p-value corrected by Holm's method, see {@link correctPValues}. */
  readonly adjusted?: number;
  /** Of a mean of zeros and ones, if higher is better. */
  readonly disagreement?: Disagreement;
  /** By group, such as `position`, in the order of the rows. */
  readonly groups: Readonly<
    Record<string, readonly (MetricComparison & { readonly value: string | number })[]>
  >;
}

/** The result of {@link compareResults}. */
export interface ResultComparison {
  readonly task: string;
  readonly version: number;
  /** Names of the models. */
  readonly a: string;
  readonly b: string;
  /** Keys of the task's config that differ, such as the judge: they may explain a difference. */
  readonly differentConfig: readonly string[];
  /** Rows that only one result has; they are ignored. */
  readonly numOnlyA: number;
  readonly numOnlyB: number;
  readonly metrics: Readonly<Record<string, MetricComparisonByGroup>>;
  /** Metrics that cannot be compared: of an unknown aggregation, or without a common row. */
  readonly notCompared: readonly string[];
}

/**
 * Compares two results of one task, such as NTP and MEAP, over their common rows.
 *
 * Rows are paired by id, which removes the variance that both models share: smaller differences become significant than
 * with two separate standard errors. P-values are not corrected for multiple tests, see {@link correctPValues}: among
 * twenty, one is below 0.05 by chance.
 *
 * @throws EvalsError for results of different tasks or versions, without a common row, or whose rows of one id have other
 *   tokens
 */
export function compareResults(a: TaskResult, b: TaskResult): ResultComparison {
  const names = [a, b].map(({ task, version }) => `${task} version ${version}`);
  if (names[0] !== names[1]) {
    throw new EvalsError(`compareResults: got ${names[0]} and ${names[1]}, expected two results of one task`);
  }
  const ofB = new Map(b.samples.map((sample) => [sample.id, sample]));
  const pairs = a.samples.flatMap((sample): Pair[] => {
    const other = ofB.get(sample.id);
    return other ? [[sample, other]] : [];
  });
  if (pairs.length === 0) {
    throw new EvalsError(
      `compareResults: ${a.samples.length} and ${b.samples.length} rows of ${a.task} have no id in common, ` +
        'expected results over the same rows',
    );
  }
  for (const pair of pairs) requireSameTokens(`compareResults: ${a.task}`, pair);
  const metrics: Record<string, MetricComparisonByGroup> = {};
  const notCompared: string[] = [];
  for (const { name, higherIsBetter, aggregation } of a.metrics) {
    const compared = compareMetric(pairs, name, aggregation);
    const isShare = higherIsBetter && aggregation === mean.name;
    const disagreement = isShare ? disagreementOf(pairs, name) : undefined;
    if (compared) {
      const groups = byGroup(pairs, name, aggregation);
      metrics[name] = { ...compared, higherIsBetter, ...(disagreement && { disagreement }), groups };
    } else notCompared.push(name);
  }
  return {
    task: a.task,
    version: a.version,
    a: a.model.name,
    b: b.model.name,
    differentConfig: differentKeys(a.config, b.config),
    numOnlyA: a.samples.length - pairs.length,
    numOnlyB: b.samples.length - pairs.length,
    metrics,
    notCompared,
  };
}

/** Corrects the p-values of some comparisons by Holm's method, over the metrics of all tasks, without groups. */
export function correctPValues(comparisons: readonly ResultComparison[]): ResultComparison[] {
  const pValues = comparisons.flatMap(({ metrics }) =>
    Object.values(metrics).flatMap(({ pValue }) => pValue ?? []),
  );
  const adjusted = adjustHolm(pValues).values();
  const correct = (compared: MetricComparisonByGroup) =>
    compared.pValue === undefined ? compared : { ...compared, adjusted: adjusted.next().value };
  return comparisons.map((comparison) => ({
    ...comparison,
    metrics: Object.fromEntries(
      Object.entries(comparison.metrics).map(([metric, compared]) => [metric, correct(compared)]),
    ),
  }));
}

type Pair = readonly [a: Sample, b: Sample];

/** A total that is a function of Σ value / Σ weight (or / n), with its slope unless it is that ratio itself. */
interface Link {
  readonly aggregation: Aggregation;
  readonly isWeighted: boolean;
  slope?(ratio: number): number;
}

const LINKS: readonly Link[] = [
  { aggregation: mean, isWeighted: false },
  { aggregation: perplexity, isWeighted: false, slope: (ratio) => -Math.exp(-ratio) },
  { aggregation: weightedPerplexity, isWeighted: true, slope: (ratio) => -Math.exp(-ratio) },
  { aggregation: bitsPerByte, isWeighted: true, slope: () => -1 / Math.LN2 },
];

/** Compares one metric; undefined if no pair has it, or its aggregation is unknown. */
function compareMetric(
  pairs: readonly Pair[],
  metric: string,
  aggregation: string,
): MetricComparison | undefined {
  const both = pairs.flatMap(([a, b]): [Measured, Measured][] => {
    const [ofA, ofB] = [a.measured[metric], b.measured[metric]];
    return ofA && ofB ? [[ofA, ofB]] : [];
  });
  const link = LINKS.find(({ aggregation: { name } }) => name === aggregation);
  if (both.length === 0 || !link) return undefined;
  const sides = [0, 1].map((side) => both.map((pair) => pair[side]));
  const [from, to] = sides.map((items) => link.aggregation.total(items));
  const difference = to - from;
  return {
    a: from,
    b: to,
    difference,
    points: 100 * difference,
    ...(from === 0 ? {} : { relativePercent: (100 * difference) / Math.abs(from) }),
    numItems: both.length,
    ...(both.length < 2 ? {} : test(sides, link)),
  };
}

const MAX_LISTED = 20;

/** Undefined unless the metric is 0 or 1 in every row that both measured. */
function disagreementOf(pairs: readonly Pair[], metric: string): Disagreement | undefined {
  const rows = pairs.flatMap(([a, b]) => {
    const [ofA, ofB] = [a.measured[metric]?.value, b.measured[metric]?.value];
    return ofA === undefined || ofB === undefined ? [] : [{ id: a.id, ofA, ofB }];
  });
  if (rows.some(({ ofA, ofB }) => ![0, 1].includes(ofA) || ![0, 1].includes(ofB))) return undefined;
  const [onlyA, onlyB] = [1, 0].map((right) =>
    rows.filter(({ ofA, ofB }) => ofA === right && ofB === 1 - right).map(({ id }) => id),
  );
  return {
    numOnlyA: onlyA.length,
    numOnlyB: onlyB.length,
    onlyA: onlyA.slice(0, MAX_LISTED),
    onlyB: onlyB.slice(0, MAX_LISTED),
  };
}

/** Rows are far from normal: of a few, equal or nearly equal differences are common and would look certain to a t-test. */
const MAX_FEW_ROWS = 20;

function test(sides: readonly (readonly Measured[])[], link: Link): Partial<MetricComparison> {
  const [a, b] = sides.map((items) => pseudoValues(items, link));
  const tTest = a.length > MAX_FEW_ROWS ? pairedTTest(b, a) : undefined;
  const interval = tTest && { interval: tTest.interval };
  const isBinary = [...a, ...b].every((value) => value === 0 || value === 1);
  if (isBinary) return { ...interval, pValue: mcNemarTest(a, b).pValue, test: 'mcnemar' };
  if (tTest) return { ...interval, pValue: tTest.pValue, test: 'paired-t' };
  return { pValue: signFlipTest(b.map((value, i) => value - a[i])).pValue, test: 'sign-flip' };
}

/**
 * Numbers whose mean is the total and whose standard error is that of the total to first order (delta method): the
 * values themselves for a mean, linearized around the total otherwise.
 */
function pseudoValues(items: readonly Measured[], { aggregation, isWeighted, slope }: Link): number[] {
  const values = items.map(({ value }) => value);
  if (!slope) return values;
  const weights = items.map(({ weight = 1 }) => (isWeighted ? weight : 1));
  const meanWeight = meanOf(weights);
  const ratio = meanOf(values) / meanWeight;
  const [total, step] = [aggregation.total(items), slope(ratio) / meanWeight];
  return values.map((value, i) => total + step * (value - ratio * weights[i]));
}

function byGroup(
  pairs: readonly Pair[],
  metric: string,
  aggregation: string,
): MetricComparisonByGroup['groups'] {
  const groups: Record<string, (MetricComparison & { value: string | number })[]> = {};
  for (const name of new Set(pairs.flatMap(([{ groups }]) => Object.keys(groups ?? {})))) {
    const values = new Set(pairs.flatMap(([{ groups }]) => groups?.[name] ?? []));
    groups[name] = [...values].flatMap((value) => {
      const inside = pairs.filter(([{ groups }]) => groups?.[name] === value);
      const compared = compareMetric(inside, metric, aggregation);
      return compared ? [{ value, ...compared }] : [];
    });
  }
  return groups;
}

/** Keys whose values differ. @internal */
export function differentKeys(a: TaskResult['config'], b: TaskResult['config']): string[] {
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].filter((key) => JSON.stringify(a[key]) !== JSON.stringify(b[key]));
}
