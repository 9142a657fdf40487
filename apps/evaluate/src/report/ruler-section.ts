/** RULER: tasks by length, their mean, and the effective length. */

import { EvalsError, effectiveLength, type TaskResult } from '@meap/evals';
import { type Block, format, formatLength, lineFigure, type Section, type Series } from '@meap/reports';
import { type ComparedTask, valueCell } from './comparisons.ts';
import type { EvaluatedModel } from './report-input.ts';
import { taskTitle } from './task-names.ts';

const METRIC = 'string_match_all';
const PERCENT = { isPercent: true, factor: 1 };

/** Whether a task belongs to this section. */
export function isRuler({ task }: ComparedTask): boolean {
  return task.startsWith('ruler_');
}

/** Renders a table of tasks by length for each model, and a chart of the means. */
export function rulerSection(models: readonly EvaluatedModel[], tasks: readonly ComparedTask[]): Section {
  const evaluated = models.map((model, index) => ({
    model,
    index,
    results: tasks.flatMap(({ results }) => results[index] ?? []),
  }));
  const series = evaluated.flatMap(({ model, index, results }): Series[] => {
    const lengths = meansOf(results)?.lengths ?? [];
    const points = lengths.map(({ length, score }) => ({ x: length, y: score }));
    return points.length > 0 ? [{ name: model.name, model: index, points }] : [];
  });
  const ticks = [...new Set(series.flatMap(({ points }) => points.map(({ x }) => x)))].sort((a, b) => a - b);
  const blocks: Block[] = [];
  if (ticks.length > 1) {
    blocks.push(
      lineFigure({
        name: 'ruler-by-length',
        title: 'RULER: mean over tasks, %, by length',
        series,
        x: { label: 'length, tokens', ticks, format: formatLength, isLogarithmic: true },
        y: { label: 'answers found, %', domain: [0, 100] },
        data: ['model', 'length', METRIC],
      }),
    );
  }
  for (const { model, results } of evaluated) {
    if (results.length > 0) blocks.push(...lengthTable(model.name, results));
  }
  return { heading: 'RULER', blocks };
}

function lengthTable(name: string, results: readonly TaskResult[]): Block[] {
  const values = results.flatMap(({ groups }) => (groups.length ?? []).map(({ value }) => Number(value)));
  const lengths = [...new Set(values)].sort((a, b) => a - b);
  const means = meansOf(results);
  const rows = results.map((result) => [
    taskTitle(result.task),
    ...lengths.map((length) =>
      valueCell(result.groups.length?.find(({ value }) => value === length)?.results[METRIC], PERCENT),
    ),
  ]);
  const total = means && ['Mean', ...means.lengths.map(({ score }) => format(score, PERCENT))];
  const effective =
    means?.effective === undefined ? 'below the shortest length' : `${means.effective} tokens`;
  return [
    {
      kind: 'table',
      caption: `${name}: answers found, %`,
      columns: ['Task', ...lengths.map(formatLength)],
      rows: total ? [...rows, total] : rows,
      hasTotal: total !== undefined,
      notes: means ? [`Effective length, up to which the mean exceeds 85.6 %: ${effective}.`] : [],
    },
  ];
}

/** Returns the means by length; undefined if a task lacks a length. */
function meansOf(results: readonly TaskResult[]): ReturnType<typeof effectiveLength> | undefined {
  try {
    return effectiveLength(results);
  } catch (error) {
    if (error instanceof EvalsError) return undefined;
    throw error;
  }
}
