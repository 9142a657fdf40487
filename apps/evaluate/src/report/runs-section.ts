/** Comparisons of several runs a side, such as seeds. */
import type { RunSpread } from '@meap/evals';
import { type Block, format, formatDifference, formatProbability, type Section } from '@meap/reports';
import { notesOnRuns, numRows } from '../runs-table.ts';
import { intervalNote } from './comparisons.ts';
import type { FoldersComparison } from './report-input.ts';
import { metricTitle, taskTitle } from './task-names.ts';

const PLAIN = { isPercent: false, factor: 1 };

/** Renders the differences of each comparison, and the values of each run. */
export function runsSection(comparisons: readonly FoldersComparison[]): Section {
  return { heading: 'Comparison over runs', blocks: comparisons.flatMap(tables) };
}

function tables(comparison: FoldersComparison): Block[] {
  const { pairs, metrics } = comparison;
  const names = metrics.map(({ task, metric, higherIsBetter }) => ({
    value: `${taskTitle(task)}, ${metricTitle(metric)} (${metric}) ${higherIsBetter ? '↑' : '↓'}`,
  }));
  return [
    {
      kind: 'table',
      caption: `Means over ${pairs.length} pairs of runs`,
      columns: ['Metric', 'A', 'B', 'B − A', 'p', 'p, Holm'],
      rows: metrics.map((compared, i) => [
        { ...names[i], note: `${numRows(compared)} rows` },
        spreadCell(compared.a),
        spreadCell(compared.b),
        {
          value: formatDifference(compared.difference, PLAIN),
          note: intervalNote(compared.interval, PLAIN),
        },
        formatProbability(compared.pValue),
        formatProbability(compared.adjusted),
      ]),
      notes: [
        'Below a mean: ± the standard deviation over runs. Below a difference: its 95 % interval by Student’s t, which ' +
          'assumes normal differences; two pairs, or differences without variance, have none. p: paired sign-flip test, exact for up to 20 pairs; p, Holm: corrected for all ' +
          'metrics of this table. Runs are the unit, not rows.',
        ...notesOnRuns(comparison).map((note) => `${note[0].toUpperCase()}${note.slice(1)}.`),
      ],
    },
    {
      kind: 'table',
      caption: 'Values of each run',
      columns: ['Metric', ...pairs.flatMap((_, i) => [`A${i + 1}`, `B${i + 1}`])],
      rows: metrics.map(({ a, b }, i) => [
        names[i],
        ...pairs.flatMap((_, pair) => [a, b].map(({ values }) => format(values[pair], PLAIN))),
      ]),
      notes: pairs.map(([a, b], i) => `A${i + 1}: ${a}; B${i + 1}: ${b}`),
    },
  ];
}

function spreadCell({ mean, standardDeviation }: RunSpread) {
  return { value: format(mean, PLAIN), note: `± ${format(standardDeviation, PLAIN)}` };
}
