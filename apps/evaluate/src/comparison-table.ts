import type { MetricComparison, ResultComparison } from '@meap/evals';
import { markdownTable } from 'markdown-table';

const HEADER = ['Tasks', 'n', 'Metric', '', 'A', 'B', 'B − A', '95 % interval', 'relative', 'p', 'p, Holm'];
const ALIGN = ['l', 'r', 'l', 'l', 'r', 'r', 'r', 'r', 'r', 'r', 'r'];

/** Renders comparisons with corrected p-values as Markdown, with the rows of each group below their task. */
export function renderComparisons(comparisons: readonly ResultComparison[]): string {
  const rows = comparisons.flatMap(({ task, metrics }) =>
    Object.entries(metrics).flatMap(([metric, compared]) => {
      const arrow = compared.higherIsBetter ? '↑' : '↓';
      return [
        [task, ...cells(metric, arrow, compared), pValueText(compared.adjusted)],
        ...Object.entries(compared.groups).flatMap(([group, values]) =>
          values.map((inside) => [` - ${group} ${inside.value}`, ...cells(metric, arrow, inside), '']),
        ),
      ];
    }),
  );
  const [first] = comparisons;
  return [
    `A ${first.a}, B ${first.b}`,
    '',
    trimmedTable(HEADER, rows, ALIGN),
    ...comparisons.flatMap(describeDifferences),
  ].join('\n');
}

/** A Markdown table without columns that are empty in every row. */
export function trimmedTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  align: readonly string[],
): string {
  const isKept = header.map((_, i) => i === 0 || rows.some((row) => row[i] !== '' && row[i] !== '–'));
  const keep = (cells: readonly string[]) => cells.filter((_, i) => isKept[i]);
  return markdownTable([header, ...rows].map(keep), { align: keep(align) });
}

function cells(metric: string, arrow: string, compared: MetricComparison): string[] {
  const { a, b, difference, interval, relativePercent, numItems, pValue } = compared;
  return [
    String(numItems),
    metric,
    arrow,
    a.toFixed(4),
    b.toFixed(4),
    signed(difference, 4),
    intervalText(interval),
    relativePercent === undefined ? '' : `${signed(relativePercent, 1)} %`,
    pValueText(pValue),
  ];
}

/** Returns a p-value with four decimals; a dash if there is no test. */
export function pValueText(value: number | undefined): string {
  return value === undefined ? '–' : value < 0.0001 ? '<0.0001' : value.toFixed(4);
}

/** Returns both ends of an interval of a difference; a dash if there is none. */
export function intervalText(interval: readonly [number, number] | undefined): string {
  return interval ? interval.map((end) => signed(end, 4)).join(' … ') : '–';
}

/** Returns a number with its sign, also if it is +. */
export function signed(value: number, digits: number): string {
  return `${value < 0 ? '' : '+'}${value.toFixed(digits)}`;
}

function describeDifferences({ task, numOnlyA, numOnlyB, differentConfig }: ResultComparison): string[] {
  return [
    ...(numOnlyA + numOnlyB > 0
      ? [`${task}: ${numOnlyA} rows only in A and ${numOnlyB} only in B are excluded`]
      : []),
    ...(differentConfig.length > 0 ? [`${task}: different settings: ${differentConfig.join(', ')}`] : []),
  ];
}
