import { adjustHolm, type MetricComparison, type ResultComparison } from '@meap/evals';
import { markdownTable } from 'markdown-table';

const HEADER = ['Tasks', 'n', 'Metric', '', 'A', 'B', 'B − A', '95 % interval', 'relative', 'p', 'p, Holm'];
const ALIGN = ['l', 'r', 'l', 'l', 'r', 'r', 'r', 'r', 'r', 'r', 'r'];

/**
 * Renders comparisons as Markdown, with the rows of each group below their task. p-values are corrected by Holm's method over
 * the metrics of all tasks, without groups.
 */
export function renderComparisons(comparisons: readonly ResultComparison[]): string {
  const tested = comparisons
    .flatMap(({ metrics }) => Object.values(metrics))
    .flatMap((compared) => (compared.pValue === undefined ? [] : { compared, pValue: compared.pValue }));
  const adjusted = adjustHolm(tested.map(({ pValue }) => pValue));
  const adjustedOf = new Map<MetricComparison, number>(
    tested.map(({ compared }, i) => [compared, adjusted[i]]),
  );
  const rows = comparisons.flatMap(({ task, metrics }) =>
    Object.entries(metrics).flatMap(([metric, compared]) => {
      const arrow = compared.higherIsBetter ? '↑' : '↓';
      return [
        [task, ...cells(metric, arrow, compared), pValueText(adjustedOf.get(compared))],
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
    markdownTable([HEADER, ...rows], { align: ALIGN }),
    ...comparisons.flatMap(describeDifferences),
  ].join('\n');
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
