/** Compares two sides of several runs, such as the seeds of NTP and of MEAP: the run is the unit, not the row. */
import { differentKeys } from './compare-results.ts';
import { EvalsError } from './error.ts';
import type { TaskResult } from './result.ts';
import { requireSameTokens } from './row-tokens.ts';
import { adjustHolm } from './run-statistics/multiple-comparisons.ts';
import { signFlipTest } from './run-statistics/sign-flip-test.ts';
import { mean, variance } from './statistics.ts';
import { pairedTTest } from './t-test.ts';

/** The results of one run. */
export interface RunResults {
  /** For messages, such as the folder. */
  readonly name: string;
  /** At most one result per task. */
  readonly tasks: readonly TaskResult[];
}

/** A metric over the runs of one side. */
export interface RunSpread {
  /** The metric over all rows, one value a run. */
  readonly values: readonly number[];
  /** Rows with the metric, one count a run. */
  readonly numItems: readonly number[];
  readonly mean: number;
  /** Standard deviation over runs, with n − 1. */
  readonly standardDeviation: number;
}

/** A metric of two sides, paired by the order of the runs. */
export interface MetricOverRuns {
  readonly task: string;
  readonly metric: string;
  readonly higherIsBetter: boolean;
  readonly a: RunSpread;
  readonly b: RunSpread;
  /** Mean over pairs of b minus a. */
  readonly difference: number;
  /**
   * 95 % confidence interval of the difference: paired t, which assumes normal differences; absent for two pairs, and
   * without variance.
   */
  readonly interval?: readonly [low: number, high: number];
  /** Two-sided, of {@link signFlipTest}. */
  readonly pValue: number;
  /** Whether all assignments of signs were counted; otherwise the p-value is an estimate from draws. */
  readonly isExact: boolean;
  /** The p-value corrected by Holm's method over all metrics of the comparison. */
  readonly adjusted: number;
}

/** The result of {@link compareRuns}. */
export interface RunsComparison {
  /** Names of the runs of each pair. */
  readonly pairs: readonly (readonly [a: string, b: string])[];
  /** The smallest p-value that this number of pairs can give: 2^(1 − n). */
  readonly smallestPValue: number;
  readonly metrics: readonly MetricOverRuns[];
  /** Metrics without a finite value in every run. */
  readonly notCompared: readonly { readonly task: string; readonly metric: string }[];
}

/**
 * Compares several runs a side, such as seeds, on the same tasks and rows. The first run of `a` is paired with the first
 * of `b`, and so on.
 *
 * Every value is that of a metric over all rows; groups are not compared, since each would add tests to correct for.
 *
 * @throws EvalsError for fewer than two pairs, sides of different sizes, a model twice on one side, or runs whose tasks,
 *   versions, settings or rows differ
 */
export function compareRuns(a: readonly RunResults[], b: readonly RunResults[]): RunsComparison {
  requirePairs(a, b);
  const [first, ...others] = [...a, ...b];
  for (const run of others) requireSameTasks(first, run);
  for (const side of [a, b]) requireDifferentModels(side);
  const notCompared: { task: string; metric: string }[] = [];
  const metrics: Omit<MetricOverRuns, 'adjusted'>[] = [];
  for (const { task, metrics: defined } of first.tasks) {
    for (const { name: metric, higherIsBetter } of defined) {
      const [from, to] = [a, b].map((side) => spreadOver(side, task, metric));
      if (from && to) metrics.push({ task, metric, higherIsBetter, ...compareSpreads(from, to) });
      else notCompared.push({ task, metric });
    }
  }
  const adjusted = adjustHolm(metrics.map(({ pValue }) => pValue));
  return {
    pairs: a.map(({ name }, i) => [name, b[i].name]),
    smallestPValue: 2 ** (1 - a.length),
    metrics: metrics.map((metric, i) => ({ ...metric, adjusted: adjusted[i] })),
    notCompared,
  };
}

function compareSpreads(
  a: RunSpread,
  b: RunSpread,
): Omit<MetricOverRuns, 'task' | 'metric' | 'higherIsBetter' | 'adjusted'> {
  const { difference, pValue, isExact } = signFlipTest(b.values.map((value, i) => value - a.values[i]));
  return { a, b, difference, interval: pairedTTest(b.values, a.values)?.interval, pValue, isExact };
}

/** Returns the values of a metric; undefined unless every run has a finite one. */
function spreadOver(runs: readonly RunResults[], task: string, metric: string): RunSpread | undefined {
  const found = runs.map(({ tasks }) => taskOf(tasks, task)?.results[metric]);
  const finite = found.filter((result) => result !== undefined && Number.isFinite(result.value));
  if (finite.length < runs.length) return undefined;
  const values = finite.map((result) => result!.value);
  return {
    values,
    numItems: finite.map((result) => result!.numItems),
    mean: mean(values),
    standardDeviation: Math.sqrt(variance(values)),
  };
}

function requirePairs(a: readonly RunResults[], b: readonly RunResults[]): void {
  if (a.length !== b.length) {
    throw new EvalsError(
      `compareRuns: got ${a.length} and ${b.length} runs, expected the same number on both sides, which are paired ` +
        'by order; leave out runs without a partner',
    );
  }
  if (a.length < 2) {
    throw new EvalsError(
      `compareRuns: got ${a.length} run a side, expected at least 2; two single runs can only be compared row by row`,
    );
  }
  if (a[0].tasks.length === 0) {
    throw new EvalsError(`compareRuns: got no tasks in ${a[0].name}, expected at least one`);
  }
}

/** @throws EvalsError unless both runs have the same tasks, versions, settings and rows */
function requireSameTasks(first: RunResults, run: RunResults): void {
  const different = (what: string, ofFirst: unknown, ofRun: unknown) =>
    new EvalsError(
      `compareRuns: ${what}: got ${ofFirst} in ${first.name} and ${ofRun} in ${run.name}, expected the same in every run`,
    );
  const [names, otherNames] = [first, run].map(({ tasks }) =>
    tasks
      .map(({ task }) => task)
      .toSorted()
      .join(', '),
  );
  if (names !== otherNames) throw different('tasks', names, otherNames);
  for (const result of first.tasks) {
    const { task, version, config, samples } = result;
    const other = taskOf(run.tasks, task)!;
    if (version !== other.version) throw different(`version of ${task}`, version, other.version);
    const [key] = differentKeys(config, other.config);
    if (key !== undefined) {
      throw different(`${key} of ${task}`, JSON.stringify(config[key]), JSON.stringify(other.config[key]));
    }
    const byId = new Map(samples.map((sample) => [sample.id, sample]));
    const common = other.samples.flatMap((sample) => {
      const same = byId.get(sample.id);
      return same ? [[same, sample] as const] : [];
    });
    const numCommon = common.length;
    if (numCommon < Math.max(samples.length, other.samples.length)) {
      const what = `rows of ${task}, of which ${numCommon} are common`;
      throw different(what, samples.length, other.samples.length);
    }
    for (const pair of common)
      requireSameTokens(`compareRuns: ${task} of ${first.name} and ${run.name}`, pair);
  }
}

/** One model twice would count as two independent runs. */
function requireDifferentModels(runs: readonly RunResults[]): void {
  const seen = new Map<string, string>();
  for (const { name, tasks } of runs) {
    for (const fingerprint of new Set(tasks.map(({ model }) => model.fingerprint))) {
      const other = seen.get(fingerprint);
      if (other !== undefined) {
        throw new EvalsError(
          `compareRuns: got ${other} and ${name}, which evaluated the same model, expected a different run each, such ` +
            'as another seed',
        );
      }
      seen.set(fingerprint, name);
    }
  }
}

function taskOf(tasks: readonly TaskResult[], name: string): TaskResult | undefined {
  return tasks.find(({ task }) => task === name);
}
