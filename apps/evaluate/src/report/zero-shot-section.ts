/** Multiple-choice tasks: without examples, Tables 1, 5 and 6 of the MEAP paper. */

import { type MetricResult, summarizeTaskGroups } from '@meap/evals';
import { type Figure, format, type Section, type Table, type Unit } from '@meap/reports';
import { differenceChart } from './bar-charts.ts';
import {
  type ComparedTask,
  chanceOf,
  comparisonColumns,
  differenceCell,
  isSignificant,
  type TestedDifference,
  valueCell,
} from './comparisons.ts';
import type { EvaluatedModel } from './report-input.ts';
import { metricTitle, taskTitle } from './task-names.ts';

const PERCENT: Unit = { isPercent: true, factor: 100 };

/** Whether a task belongs to this section. */
export function isZeroShot({ results }: ComparedTask): boolean {
  return results.some((result) => result?.config.output_type === 'multiple_choice');
}

/** Sections for the tasks of no group, and for each group of tasks, such as MMLU. */
export function zeroShotSections(
  models: readonly EvaluatedModel[],
  tasks: readonly ComparedTask[],
): Section[] {
  const groupOf = ({ results }: ComparedTask) =>
    results.find((result) => result !== undefined)?.memberOf?.[0]?.name;
  return Array.from(new Set(tasks.map(groupOf)), (group) => {
    const members = tasks.filter((task) => groupOf(task) === group);
    const section = zeroShotSection(models, members);
    return group === undefined ? section : { ...section, heading: `${section.heading}: ${group}` };
  });
}

/** Renders a table for each metric with its average over tasks, or the totals of groups, and charts of differences. */
function zeroShotSection(models: readonly EvaluatedModel[], tasks: readonly ComparedTask[]): Section {
  const metrics = new Set(
    tasks.flatMap(({ results }) => results.flatMap((result) => Object.keys(result?.results ?? {}))),
  );
  const blocks = Array.from(metrics, (metric) => {
    const rows = tasks.flatMap((task) => metricOf(task, metric) ?? []);
    // The metrics of the paper.
    const isDrawn = metric === 'acc' || metric === 'acc_norm';
    const groups = groupRows(tasks, metric);
    const totals = groups.length > 0 ? groups : rows.length > 1 ? [averageOf(rows)] : [];
    return [
      accuracyTable(models, metric, rows, totals),
      ...(isDrawn ? differenceFigures(models, metric, rows) : []),
    ];
  });
  return {
    heading: tasks.some(hasExamples) ? 'Multiple-choice tasks' : 'Zero-shot tasks',
    blocks: blocks.flat(),
  };
}

const hasExamples = ({ results }: ComparedTask) => results.some((result) => shotsOf(result) > 0);

const shotsOf = (result: ComparedTask['results'][number]) => Number(result?.config.num_fewshot ?? 0);

/** The title of a task, with the number of examples of each model. */
function titleOf(compared: ComparedTask): string {
  const title = taskTitle(compared.task);
  if (!hasExamples(compared)) return title;
  const shots = new Set(compared.results.flatMap((result) => (result ? shotsOf(result) : [])));
  return `${title}, ${[...shots].join(' and ')}-shot`;
}

/** A metric of a task, or its average over tasks. */
interface Row {
  readonly name: string;
  /** The share of rows that guesses have right, if known. */
  readonly chance?: number;
  readonly values: readonly (MetricResult | undefined)[];
  readonly differences: readonly (TestedDifference | undefined)[];
  readonly notes: readonly string[];
}

function metricOf(compared: ComparedTask, metric: string): Row | undefined {
  const { results, comparisons, notes } = compared;
  const values = results.map((result) => result?.results[metric]);
  if (values.every((value) => value === undefined)) return undefined;
  const differences = comparisons.map((comparison) => comparison?.metrics[metric]);
  return {
    name: titleOf(compared),
    chance: chanceOf(metric, results.find((result) => result !== undefined)?.samples),
    values,
    differences,
    notes: notes.map((note) => `${titleOf(compared)}: ${note}`),
  };
}

/** The totals of the groups of tasks, the largest last. */
function groupRows(tasks: readonly ComparedTask[], metric: string): Row[] {
  const byModel = tasks[0].results.map((_, model) =>
    summarizeTaskGroups(tasks.flatMap(({ results }) => results[model] ?? [])),
  );
  const names = new Set(byModel.flatMap((groups) => groups.map(({ name }) => name)));
  const chances = summarizeTaskGroups(tasks.flatMap(({ results }) => guesses(results, metric) ?? []));
  const rows = Array.from(names, (name): Row => {
    const values = byModel.map((groups) => groups.find((group) => group.name === name)?.results[metric]);
    return {
      name: `${name} (group)`,
      chance: chances.find((group) => group.name === name)?.results[metric]?.value,
      values,
      differences: tasks[0].comparisons.map(() => undefined),
      notes: [],
    };
  });
  return rows.filter(({ values }) => values.some((value) => value !== undefined)).reverse();
}

/** A task with what guesses would score; undefined where that is not known. */
function guesses(results: ComparedTask['results'], metric: string) {
  const result = results.find((result) => result !== undefined);
  const value = chanceOf(metric, result?.samples);
  return value === undefined || !result?.results[metric]
    ? undefined
    : { ...result, results: { [metric]: { value, numItems: result.results[metric].numItems } } };
}

function accuracyTable(
  models: readonly EvaluatedModel[],
  metric: string,
  rows: readonly Row[],
  totals: readonly Row[],
): Table {
  return {
    kind: 'table',
    caption: `${metricTitle(metric)} (${metric}), %`,
    columns: ['Task', 'Chance', ...comparisonColumns(models)],
    rows: [...rows, ...totals].map(({ name, chance, values, differences }) => [
      { value: name, note: rowCount(values) },
      chance === undefined ? undefined : format(chance, PERCENT),
      ...values.map((value) => valueCell(value, PERCENT)),
      ...differences.map((difference) => differenceCell(difference, PERCENT, true)),
    ]),
    hasTotal: totals.length > 0,
    notes: rows.flatMap(({ notes }) => notes),
  };
}

/** Averages over tasks with equal weights; the errors of tasks are independent, so their squares add. */
function averageOf(rows: readonly Row[]): Row {
  const means = (index: number): MetricResult | undefined => {
    const found = complete(rows.map(({ values }) => values[index]));
    const errors = complete(found?.map(({ standardError }) => standardError));
    return (
      found && {
        value: mean(found.map(({ value }) => value)),
        ...(errors && { standardError: Math.hypot(...errors) / rows.length }),
        numItems: found.reduce((sum, { numItems }) => sum + numItems, 0),
      }
    );
  };
  const differences = (index: number): TestedDifference | undefined => {
    const found = complete(rows.map(({ differences }) => differences[index]));
    if (!found) return undefined;
    const difference = mean(found.map(({ difference }) => difference));
    const intervals = complete(found.map(({ interval }) => interval));
    if (!intervals) return { difference };
    const halfWidth = Math.hypot(...intervals.map(([low, high]) => (high - low) / 2)) / rows.length;
    return { difference, interval: [difference - halfWidth, difference + halfWidth] };
  };
  const chances = complete(rows.map(({ chance }) => chance));
  return {
    name: 'Average',
    chance: chances && mean(chances),
    values: rows[0].values.map((_, index) => means(index)),
    differences: rows[0].differences.map((_, index) => differences(index)),
    notes: [],
  };
}

function differenceFigures(
  models: readonly EvaluatedModel[],
  metric: string,
  rows: readonly Row[],
): Figure[] {
  return models.slice(1).flatMap((model, index): Figure[] => {
    const differences = rows.flatMap(({ name, differences }) => {
      const found = differences[index];
      if (!found) return [];
      const interval = found.interval?.map((limit) => 100 * limit) as [number, number] | undefined;
      return [{ name, value: 100 * found.difference, interval, isSignificant: isSignificant(found) }];
    });
    if (differences.length === 0) return [];
    const title = `${metricTitle(metric)}: ${model.name} minus ${models[0].name}, percentage points`;
    const better = differences.filter(({ value, isSignificant }) => isSignificant && value > 0).length;
    const worse = differences.filter(({ value, isSignificant }) => isSignificant && value < 0).length;
    return [
      {
        kind: 'figure',
        name: models.length > 2 ? `zero-shot-${metric}-${index + 2}` : `zero-shot-${metric}`,
        title,
        description: `Of ${differences.length} tasks, ${better} are significantly better and ${worse} significantly worse.`,
        data: {
          columns: ['task', 'difference', 'low', 'high'],
          rows: differences.map(({ name, value, interval = [] }) => [name, value, interval[0], interval[1]]),
        },
        draw: (width) =>
          differenceChart(
            { label: 'percentage points, 95 % interval', model: index + 1, differences },
            width,
          ),
      },
    ];
  });
}

function rowCount(values: Row['values']): string {
  const counts = [...new Set(values.flatMap((value) => value?.numItems ?? []))];
  return `n = ${counts.join(' / ')}`;
}

/** Returns all values; undefined if one is missing. */
function complete<Value>(values: readonly (Value | undefined)[] = [undefined]): Value[] | undefined {
  const found = values.filter((value) => value !== undefined);
  return found.length === values.length ? found : undefined;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
