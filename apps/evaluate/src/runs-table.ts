import type { MetricOverRuns, RunSpread } from '@meap/evals';
import { counted } from '@meap/recipe-cli';
import { intervalText, pValueText, signed, trimmedTable } from './comparison-table.ts';
import type { FoldersComparison } from './report/report-input.ts';

const HEADER = ['Tasks', 'Rows', 'Metric', '', 'A', 'B', 'B − A', '95 % interval', 'p', 'p, Holm'];
const ALIGN = ['l', 'r', 'l', 'l', 'r', 'r', 'r', 'r', 'r', 'r'];
const LEVEL = 0.05;

/** Renders a comparison over runs as Markdown, with the runs of each pair above. */
export function renderRunsComparison(comparison: FoldersComparison): string {
  const { pairs, metrics } = comparison;
  return [
    ...pairs.map(([a, b], i) => `${`pair ${i + 1}`.padEnd(12)} A ${a}, B ${b}`),
    '',
    trimmedTable(HEADER, metrics.map(cells), ALIGN),
    'A, B: mean ± standard deviation over runs',
    ...notesOnRuns(comparison),
  ].join('\n');
}

function cells(compared: MetricOverRuns): string[] {
  const { task, metric, higherIsBetter, a, b, difference, interval, pValue, adjusted } = compared;
  return [
    task,
    numRows(compared),
    metric,
    higherIsBetter ? '↑' : '↓',
    spread(a),
    spread(b),
    signed(difference, 4),
    intervalText(interval),
    pValueText(pValue),
    pValueText(adjusted),
  ];
}

function spread({ mean, standardDeviation }: RunSpread): string {
  return `${mean.toFixed(4)} ± ${standardDeviation.toFixed(4)}`;
}

/** Returns the number of rows with a metric; a range if it differs between runs, as with replies that a judge spoils. */
export function numRows({ a, b }: Pick<MetricOverRuns, 'a' | 'b'>): string {
  const counts = [...a.numItems, ...b.numItems];
  return [...new Set([Math.min(...counts), Math.max(...counts)])].join('–');
}

/** Says whether there are too few runs to find anything, and which runs and metrics are left out. */
export function notesOnRuns(comparison: FoldersComparison): string[] {
  const { pairs, smallestPValue, metrics, notCompared, leftOut = [] } = comparison;
  const least = Math.min(1, smallestPValue * metrics.length);
  const number = (value: number) => String(Number(value.toPrecision(3)));
  const limit = `${counted(pairs.length, 'pair')} can give no p below ${number(smallestPValue)}`;
  return [
    ...(smallestPValue >= LEVEL
      ? [`too few runs to test: ${limit}, before the correction`]
      : least >= LEVEL
        ? [`too few runs to test ${metrics.length} metrics: ${limit}, ${number(least)} after the correction`]
        : []),
    ...(leftOut.length > 0
      ? [`left out, without a finished evaluation of the same seed on both sides: ${leftOut.join(', ')}`]
      : []),
    ...notCompared.map(
      ({ task, metric }) => `${task}: ${metric} is left out, since not every run has a finite value`,
    ),
  ];
}
