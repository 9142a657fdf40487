/** Compares the results of several models with those of the first. */

import {
  compareResults,
  correctPValues,
  type Disagreement,
  EvalsError,
  type MetricComparison,
  type MetricResult,
  type ResultComparison,
  type TaskResult,
} from '@meap/evals';
import { html } from '@meap/recipe-cli';
import { type Cell, format, formatDifference, formatProbability, type Unit } from '@meap/reports';
import type { EvaluatedModel } from './report-input.ts';

/** The results of all models on a task. */
export interface ComparedTask {
  readonly task: string;
  /** In the order of the models; undefined for models without results. */
  readonly results: readonly (TaskResult | undefined)[];
  /** Comparisons of the other models with the first; undefined if either has no results. */
  readonly comparisons: readonly (ResultComparison | undefined)[];
  /** Notes on missing comparisons, excluded rows and different settings. */
  readonly notes: readonly string[];
}

/** Returns all tasks of the models; p-values of each model are corrected over the metrics of all tasks. */
export function compareModels(models: readonly EvaluatedModel[]): ComparedTask[] {
  const tasks = new Set(models.flatMap(({ results }) => results.map(({ task }) => task)));
  const compared = Array.from(tasks, (task) => {
    const results = models.map((model) => model.results.find((result) => result.task === task));
    const notes: string[] = [];
    const comparisons = results.slice(1).map((result, index) => {
      const [base] = results;
      if (!base || !result) return undefined;
      try {
        const comparison = compareResults(base, result);
        notes.push(...notesOn(comparison, models[0].name, models[index + 1].name));
        return comparison;
      } catch (error) {
        if (!(error instanceof EvalsError)) throw error;
        notes.push(`${models[index + 1].name} is not compared with ${models[0].name}: ${error.message}.`);
        return undefined;
      }
    });
    return { task, results, comparisons, notes };
  });
  const corrected = models.slice(1).map((_, index) => {
    const found = compared.flatMap(({ comparisons }) => comparisons[index] ?? []);
    return new Map(correctPValues(found).map((comparison, i) => [found[i], comparison]));
  });
  return compared.map((task) => ({
    ...task,
    comparisons: task.comparisons.map((comparison, index) => comparison && corrected[index].get(comparison)),
  }));
}

/** The first metric of a comparison whose rows are right or wrong, if the models disagree in a row. */
export function listedDisagreement({
  metrics,
}: ResultComparison): { metric: string; disagreement: Disagreement } | undefined {
  for (const [metric, { disagreement }] of Object.entries(metrics)) {
    if (disagreement && disagreement.numOnlyA + disagreement.numOnlyB > 0) return { metric, disagreement };
  }
  return undefined;
}

/** The share of rows that guesses have right, where it is known of all rows. */
export function chanceOf(metric: string, samples: TaskResult['samples'] = []): number | undefined {
  const chances = samples.map(({ chance }) => chance);
  if (!/^acc(_norm|_bytes)?$/.test(metric) || chances.length === 0) return undefined;
  const sum = chances.reduce((sum, chance = Number.NaN) => sum! + chance, 0)!;
  return Number.isNaN(sum) ? undefined : sum / chances.length;
}

function notesOn(
  { numOnlyA, numOnlyB, differentConfig }: ResultComparison,
  nameA: string,
  nameB: string,
): string[] {
  const onlyOne = [
    ...(numOnlyA > 0 ? [`${numOnlyA} only in ${nameA}`] : []),
    ...(numOnlyB > 0 ? [`${numOnlyB} only in ${nameB}`] : []),
  ];
  return [
    ...(onlyOne.length > 0
      ? [`Differences exclude rows that only one model has: ${onlyOne.join(', ')}.`]
      : []),
    ...(differentConfig.length > 0
      ? [`${nameA} and ${nameB} have different settings: ${differentConfig.join(', ')}.`]
      : []),
  ];
}

/** Returns the columns of values and differences. */
export function comparisonColumns(models: readonly EvaluatedModel[]): string[] {
  const names = models.map(({ name }) => name);
  const [base, ...others] = names;
  return [...names, ...(others.length === 1 ? ['Difference'] : others.map((name) => `${name} − ${base}`))];
}

export function valueCell(result: MetricResult | undefined, unit: Unit): Cell | string {
  if (result === undefined) return '–';
  const { value, standardError } = result;
  return {
    value: format(value, unit),
    note: standardError === undefined ? undefined : `± ${format(standardError, unit)}`,
  };
}

/** A difference with its tests, of which a mean over tasks and rows of a group have only some. */
export type TestedDifference = Pick<MetricComparison, 'difference' | 'interval' | 'pValue'> & {
  /** As in `MetricComparisonByGroup`. */
  readonly adjusted?: number;
};

/** Returns a cell with a difference, its confidence interval and p-values, marked if it is significant. */
export function differenceCell(
  comparison: TestedDifference | undefined,
  unit: Unit,
  higherIsBetter: boolean,
): Cell | undefined {
  if (comparison === undefined) return undefined;
  const { difference, interval, pValue, adjusted } = comparison;
  const marks = isSignificant(comparison) ? ['▲ ', '▼ '] : isNotable(comparison) ? ['△ ', '▽ '] : [];
  const mark = marks[difference > 0 === higherIsBetter ? 0 : 1] ?? '';
  const limits = intervalNote(interval, unit);
  return {
    value: `${mark}${formatDifference(difference, unit)}`,
    note:
      pValue === undefined
        ? limits
        : html`${limits}<br> p ${equals(pValue)}${adjusted === undefined ? '' : `, Holm ${equals(adjusted)}`}`,
  };
}

/** Returns the ends of an interval in brackets; a dash if there is none. */
export function intervalNote(interval: readonly [number, number] | undefined, unit: Unit): string {
  return interval ? `[${interval.map((limit) => formatDifference(limit, unit)).join(', ')}]` : '–';
}

const equals = (pValue: number) => `${pValue < 0.001 ? '' : '= '}${formatProbability(pValue)}`;

/** Whether a difference is significant by itself: by its interval and its p-value, of those that it has. */
function isNotable({ interval, pValue }: TestedDifference): boolean {
  if (interval === undefined && pValue === undefined) return false;
  return (interval === undefined || interval[0] * interval[1] > 0) && (pValue === undefined || pValue < 0.05);
}

/** Whether a difference is significant also among the differences of all tasks. */
export function isSignificant(difference: TestedDifference): boolean {
  return isNotable(difference) && difference.adjusted !== undefined && difference.adjusted < 0.05;
}

/** Explains the cells of {@link differenceCell}. */
export const DIFFERENCE_NOTE =
  'Below a value: ± its standard error. Below a difference: its 95 % confidence interval over the common rows, paired, ' +
  'and its p-value (McNemar’s exact test if rows are right or wrong, otherwise the paired t-test; up to 20 rows, or ' +
  'differences without variance, have no interval, and the sign-flip test). Of twenty p-values between equal models, one is ' +
  'below 0.05 by chance; Holm: corrected for the metrics of all tasks. ▲ better, ▼ worse, if the interval excludes 0 and the ' +
  'corrected p is below 0.05; △ better, ▽ worse, where only p itself is, or there is no correction: averages, and groups of ' +
  'rows.';
