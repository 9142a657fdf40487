/** Results of several models on one task, each held against the first. */

import {
  compareResults,
  EvalsError,
  type MetricComparison,
  type MetricResult,
  type ResultComparison,
  type TaskResult,
} from '@meap/evals';
import { html } from '@meap/recipe-cli';
import type { EvaluatedModel } from './report-input.ts';
import type { Cell } from './table.ts';
import { format, formatDifference, formatProbability, type Unit } from './units.ts';

/** One task and all models. */
export interface ComparedTask {
  readonly task: string;
  /** In the order of the models; undefined for one that was not asked. */
  readonly results: readonly (TaskResult | undefined)[];
  /** Of every model but the first against the first; undefined where one of the two was not asked. */
  readonly comparisons: readonly (ResultComparison | undefined)[];
  /** Why some could not be compared, and over which rows the others were. */
  readonly notes: readonly string[];
}

/** Every task that any of the models was asked, in the order in which they were. */
export function compareModels(models: readonly EvaluatedModel[]): ComparedTask[] {
  const tasks = new Set(models.flatMap(({ results }) => results.map(({ task }) => task)));
  return Array.from(tasks, (task) => {
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
        notes.push(`${models[index + 1].name} is not held against ${models[0].name}: ${error.message}.`);
        return undefined;
      }
    });
    return { task, results, comparisons, notes };
  });
}

function notesOn(
  { numOnlyA, numOnlyB, differentConfig }: ResultComparison,
  nameA: string,
  nameB: string,
): string[] {
  const onlyOne = [
    ...(numOnlyA > 0 ? [`${numOnlyA} of ${nameA} only`] : []),
    ...(numOnlyB > 0 ? [`${numOnlyB} of ${nameB} only`] : []),
  ];
  return [
    ...(onlyOne.length > 0
      ? [`Differences leave out rows that one model was asked: ${onlyOne.join(', ')}.`]
      : []),
    ...(differentConfig.length > 0
      ? [`${nameA} and ${nameB} were asked differently: ${differentConfig.join(', ')}.`]
      : []),
  ];
}

/** Columns of values, then of differences. */
export function comparisonColumns(models: readonly EvaluatedModel[]): string[] {
  const names = models.map(({ name }) => name);
  const [base, ...others] = names;
  return [...names, ...(others.length === 1 ? ['Difference'] : others.map((name) => `${name} less ${base}`))];
}

/** A value with its standard error. */
export function valueCell(result: MetricResult | undefined, unit: Unit): Cell | string {
  if (result === undefined) return '–';
  const { value, standardError } = result;
  return {
    value: format(value, unit),
    note: standardError === undefined ? undefined : `± ${format(standardError, unit)}`,
  };
}

/** A difference with its confidence interval and p-value, marked where it is clear. */
export function differenceCell(
  comparison: Pick<MetricComparison, 'difference' | 'interval' | 'pValue'> | undefined,
  unit: Unit,
  higherIsBetter: boolean,
): Cell | undefined {
  if (comparison === undefined) return undefined;
  const { difference, interval, pValue } = comparison;
  const mark = !isClear(comparison) ? '' : difference > 0 === higherIsBetter ? '▲ ' : '▼ ';
  const limits = interval?.map((limit) => formatDifference(limit, unit)).join(', ');
  return {
    value: `${mark}${formatDifference(difference, unit)}`,
    note: html`${limits === undefined ? undefined : html`[${limits}]`}${
      pValue === undefined
        ? undefined
        : html`<br> p ${pValue < 0.001 ? '' : '= '}${formatProbability(pValue)}`
    }`,
  };
}

/** Whether a difference is told from chance, by its interval and by its p-value where there is one. */
export function isClear({ interval, pValue = 0 }: Pick<MetricComparison, 'interval' | 'pValue'>): boolean {
  return interval !== undefined && interval[0] * interval[1] > 0 && pValue < 0.05;
}

/** What the signs of {@link differenceCell} mean, for those who see them first. */
export const DIFFERENCE_NOTE =
  'Below a value: ± its standard error. Below a difference: its 95 % confidence interval over the rows that both models ' +
  'were asked, paired, and the probability p of one at least as large between equally good models (McNemar’s exact ' +
  'test where rows are right or wrong, else the paired t-test). ▲ better, ▼ worse, where the interval leaves out 0 and p is below 0.05. ' +
  'Among twenty such p-values, one is below 0.05 by chance.';
