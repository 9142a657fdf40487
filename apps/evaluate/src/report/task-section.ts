/** A section about a task: its metrics, and curves and heat maps by the groups of its rows. */

import type { GroupResult, MetricComparison, TaskResult } from '@meap/evals';
import {
  type Block,
  type Figure,
  fileName,
  format,
  formatLength,
  lineFigure,
  type Section,
  type Series,
  type Table,
  type Unit,
} from '@meap/reports';
import { type ComparedTask, chanceOf, comparisonColumns, differenceCell, valueCell } from './comparisons.ts';
import { heatMap } from './heat-map.ts';
import type { EvaluatedModel } from './report-input.ts';
import { metricTitle, taskTitle } from './task-names.ts';
import { unitOf, withUnit } from './units.ts';

/** Labels of groups and formats of their values. */
const AXES: Readonly<Record<string, { readonly label: string; readonly format: (value: number) => string }>> =
  {
    length: { label: 'length of the prompt, tokens', format: formatLength },
    depth: { label: 'depth, %', format: String },
    position: { label: 'position of the answer', format: String },
    needles: { label: 'needles', format: String },
  };

function axisOf(group: string): (typeof AXES)[string] {
  return Object.hasOwn(AXES, group) ? AXES[group] : { label: group, format: String };
}

/** Renders the tables and figures of a task; figures show its first metric. */
export function taskSection(models: readonly EvaluatedModel[], task: ComparedTask): Section {
  const results = task.results.filter((result) => result !== undefined);
  const metric = measuredMetrics(results)[0]?.name;
  const groups = [...new Set(results.flatMap(({ groups }) => Object.keys(groups)))];
  const isGrid = groups.includes('length') && groups.includes('depth');
  const blocks: Block[] = [metricsTable(models, task)];
  if (metric !== undefined) {
    const unit = unitOf(metric, results);
    if (isGrid && unit.isPercent) blocks.push(...heatMaps(models, task, metric, unit));
    for (const group of groups) {
      // The heat map shows depths better than a mean over lengths.
      if (isGrid && group === 'depth') continue;
      blocks.push(...curve(models, task, { metric, group, unit }));
      blocks.push(groupTable(models, task, { metric, group, unit }));
    }
  }
  return { heading: taskTitle(task.task), blocks };
}

function metricsTable(
  models: readonly EvaluatedModel[],
  { results, comparisons, notes }: ComparedTask,
): Table {
  const evaluated = results.filter((result) => result !== undefined);
  return {
    kind: 'table',
    caption: 'All rows',
    columns: ['Metric', 'Chance', ...comparisonColumns(models)],
    rows: measuredMetrics(evaluated).map(({ name, higherIsBetter }) => {
      const chance = chanceOf(name, evaluated[0].samples);
      const unit = unitOf(name, evaluated);
      const differences = comparisons.map((comparison) => comparison?.metrics[name]);
      return [
        {
          value: `${withUnit(metricTitle(name), unit)} ${higherIsBetter ? '↑' : '↓'}`,
          note: `n = ${[...new Set(evaluated.map(({ results }) => results[name]?.numItems ?? 0))].join(' / ')}`,
        },
        chance === undefined ? undefined : format(chance, unit),
        ...results.map((result) => valueCell(result?.results[name], unit)),
        ...differences.map((difference) => differenceCell(difference, unit, higherIsBetter)),
      ];
    }),
    notes: ['↑ higher is better, ↓ lower is better; n: number of rows.', ...notes],
  };
}

/** The metrics that a model has in some row. */
function measuredMetrics(results: readonly TaskResult[]): TaskResult['metrics'] {
  return results[0].metrics.filter(({ name }) => results.some((result) => result.results[name]));
}

interface Grouping {
  readonly metric: string;
  readonly group: string;
  readonly unit: Unit;
}

/** Renders a metric by the values of a group, with differences in points and in percent of the first model. */
function groupTable(
  models: readonly EvaluatedModel[],
  { results, comparisons }: ComparedTask,
  { metric, group, unit }: Grouping,
): Table {
  const evaluated = results.filter((result) => result !== undefined);
  const higherIsBetter = evaluated[0].metrics.find(({ name }) => name === metric)!.higherIsBetter;
  const values = groupValues(evaluated, group);
  const write = (value: string | number) => (typeof value === 'number' ? axisOf(group).format(value) : value);
  return {
    kind: 'table',
    caption: `${withUnit(metricTitle(metric), unit)}, by ${group}`,
    columns: [capitalized(group), ...comparisonColumns(models)],
    rows: values.map((value) => [
      { value: write(value), note: skippedNote(evaluated, group, value) },
      ...results.map((result) => valueCell(groupOf(result, group, value)?.results[metric], unit)),
      ...comparisons.map((comparison) => {
        const found = comparison?.metrics[metric]?.groups[group]?.find((entry) => entry.value === value);
        const cell = differenceCell(found, unit, higherIsBetter);
        return cell && { ...cell, value: [cell.value, relative(found)] };
      }),
    ]),
    notes:
      models.length > 1
        ? [
            `Differences are in ${unit.isPercent ? 'percentage points' : 'the unit of the metric'}; in parentheses, in percent of ${models[0].name}.`,
          ]
        : [],
  };
}

function relative(comparison: MetricComparison | undefined): string | undefined {
  if (comparison?.relativePercent === undefined) return undefined;
  const percent = comparison.relativePercent.toFixed(1).replace('-', '−');
  return ` (${comparison.relativePercent > 0 ? '+' : ''}${percent} %)`;
}

/** Draws a metric over a group with at least two numeric values. */
function curve(
  models: readonly EvaluatedModel[],
  { task, results }: ComparedTask,
  { metric, group, unit }: Grouping,
): Figure[] {
  const evaluated = results.filter((result) => result !== undefined);
  const values = groupValues(evaluated, group).filter((value) => typeof value === 'number');
  if (values.length < 2) return [];
  const series = results.flatMap((result, model): Series[] => {
    const points = values.flatMap((x) => {
      const found = groupOf(result, group, x)?.results[metric];
      if (!found) return [];
      const { value, standardError } = found;
      return [{ x, y: unit.factor * value, halfWidth: standardError && 1.96 * unit.factor * standardError }];
    });
    return points.length > 0 ? [{ name: models[model].name, model, points }] : [];
  });
  if (series.length === 0) return [];
  const guesses = values.flatMap((x) => {
    const inside = evaluated[0].samples.filter(({ groups }) => groups?.[group] === x);
    const chance = chanceOf(metric, inside);
    return chance === undefined ? [] : [{ x, y: unit.factor * chance }];
  });
  const chance: Series = { name: 'chance', points: guesses };
  const { label, format: write } = axisOf(group);
  const ticks = values.filter((value) => series.some(({ points }) => points.some(({ x }) => x === value)));
  const isLogarithmic = group === 'length' && values.at(-1)! >= 8 * values[0];
  return [
    lineFigure({
      name: fileName(task, 'by', group),
      title: `${taskTitle(task)}: ${withUnit(metricTitle(metric), unit)}, by ${group}`,
      series,
      drawn: guesses.length > 0 ? [...series, chance] : series,
      x: { label, ticks, format: write, isLogarithmic },
      y: { label: withUnit(metricTitle(metric), unit), domain: unit.isPercent ? [0, 100] : undefined },
      data: {
        columns: ['model', group, metric, 'standard_error', 'n'],
        rows: series.flatMap(({ name, model }) =>
          values.flatMap((value) => {
            const found = groupOf(results[model!], group, value)?.results[metric];
            return found ? [[name, value, found.value, found.standardError, found.numItems]] : [];
          }),
        ),
      },
    }),
  ];
}

/** Draws a heat map over length and depth for each model. */
function heatMaps(
  models: readonly EvaluatedModel[],
  { task, results }: ComparedTask,
  metric: string,
  { factor }: Unit,
): Figure[] {
  return results.flatMap((result, model): Figure[] => {
    if (!result) return [];
    const lengths = groupValues([result], 'length').filter((value) => typeof value === 'number');
    const depths = groupValues([result], 'depth').filter((value) => typeof value === 'number');
    const cells = lengths.flatMap((x) =>
      depths.map((y) => {
        const items = result.samples.flatMap(({ groups, measured }) =>
          groups?.length === x && groups.depth === y ? (measured[metric] ?? []) : [],
        );
        const sum = items.reduce((total, { value }) => total + value, 0);
        return {
          x,
          y,
          numItems: items.length,
          share: items.length > 0 ? (factor * sum) / items.length / 100 : undefined,
        };
      }),
    );
    const measured = cells.filter((cell) => cell.share !== undefined);
    if (measured.length === 0) return [];
    const lowest = measured.reduce((low, cell) => (cell.share! < low.share! ? cell : low));
    return [
      {
        kind: 'figure',
        name: models.length > 1 ? fileName(task, 'grid', model + 1) : fileName(task, 'grid'),
        title: `${taskTitle(task)}: ${metricTitle(metric)}, %${models.length > 1 ? `, ${models[model].name}` : ''}`,
        description:
          `Heat map over ${lengths.length} lengths and ${depths.length} depths. Lowest: ` +
          `${Math.round(100 * lowest.share!)} % at ${lowest.x} tokens and depth ${lowest.y} %.`,
        data: {
          columns: ['length', 'depth', metric, 'n'],
          rows: cells.map(({ x, y, share, numItems }) => [
            x,
            y,
            share === undefined ? undefined : (100 * share) / factor,
            numItems,
          ]),
        },
        draw: (width) =>
          heatMap(
            { x: { values: lengths, ...AXES.length }, y: { values: depths, ...AXES.depth }, cells },
            width,
          ),
      },
    ];
  });
}

/** Returns the values of a group over all models; numbers in ascending order. */
function groupValues(results: readonly TaskResult[], group: string): (string | number)[] {
  const values = new Set(results.flatMap(({ groups }) => (groups[group] ?? []).map(({ value }) => value)));
  return [...values].sort((a, b) => (typeof a === 'number' && typeof b === 'number' ? a - b : 0));
}

function groupOf(
  result: TaskResult | undefined,
  group: string,
  value: string | number,
): GroupResult | undefined {
  return result?.groups[group]?.find((entry) => entry.value === value);
}

function skippedNote(
  results: readonly TaskResult[],
  group: string,
  value: string | number,
): string | undefined {
  const skipped = Math.max(...results.map((result) => groupOf(result, group, value)?.numSkipped ?? 0));
  return skipped > 0 ? `${skipped} skipped` : undefined;
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
