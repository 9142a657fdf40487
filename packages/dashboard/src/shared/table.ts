/**
 * Curves of any length in bounded memory, used by server and page.
 *
 * A row summarizes `count` consecutive steps: their end, and mean, minimum and maximum of each metric. Merging keeps the
 * extremes, so a spike of one step in a million stays visible. Widths are powers of two aligned to the first step, so
 * the result does not depend on when rows are merged.
 */

/** The plotted keys of `metrics.jsonl`. */
export const METRICS = [
  'loss',
  'zLoss',
  'lr',
  'gradNorm',
  'tokensPerSecond',
  'mfu',
  'residentBytes',
  'backendBytes',
] as const;

/** A key of {@link METRICS}. */
export type Metric = (typeof METRICS)[number];

/** Mean, minimum and maximum of the finite values of each row; null if there are none. */
export interface Column {
  mean: (number | null)[];
  low: (number | null)[];
  high: (number | null)[];
}

/** Rows stored as columns of equal length. */
export interface Table {
  /** Index of the first step of each row. */
  first: number[];
  /** Number of steps of each row. */
  count: number[];
  /** Step, tokens and training time at the end of each row. */
  step: number[];
  tokens: number[];
  seconds: number[];
  metrics: Record<Metric, Column>;
}

/** Maximum number of rows sent to a page for a run. */
export const MAX_ROWS = 2000;

export function emptyTable(): Table {
  const column = (): Column => ({ mean: [], low: [], high: [] });
  const metrics = Object.fromEntries(METRICS.map((metric) => [metric, column()])) as Record<Metric, Column>;
  return { first: [], count: [], step: [], tokens: [], seconds: [], metrics };
}

/** Returns the smallest power of two at which `numSteps` steps fit in {@link MAX_ROWS} rows. */
export function widthFor(numSteps: number): number {
  let width = 1;
  while (Math.ceil(numSteps / width) > MAX_ROWS) width *= 2;
  return width;
}

export function appendRows(table: Table, added: Table, from = 0, to = added.first.length): Table {
  for (let row = from; row < to; row++) pushMerged(table, added, row, row + 1);
  return table;
}

/** Returns the rows merged into blocks of `width` steps; wider rows stay. */
export function coalesce(table: Table, width: number): Table {
  const merged = emptyTable();
  let row = 0;
  while (row < table.first.length) {
    const block = Math.floor(table.first[row] / width);
    let end = row + 1;
    while (end < table.first.length && Math.floor(table.first[end] / width) === block) end++;
    pushMerged(merged, table, row, end);
    row = end;
  }
  return merged;
}

/** Returns `table` with the steps of `detail` replaced by the rows of `detail`. */
export function spliceRows(table: Table, detail: Table): Table {
  if (detail.first.length === 0) return table;
  const from = detail.first[0];
  const to = detail.first.at(-1)! + detail.count.at(-1)!;
  const end = table.first.findIndex((first, row) => first + table.count[row] > from);
  const joined = sliceRows(table, 0, end < 0 ? table.first.length : end);
  appendRows(joined, detail);
  const rest = table.first.findIndex((first) => first >= to);
  return rest < 0 ? joined : appendRows(joined, table, rest);
}

/** Returns the rows from `from` up to `to`, exclusive. */
export function sliceRows(table: Table, from: number, to: number): Table {
  return appendRows(emptyTable(), table, from, to);
}

function pushMerged(into: Table, from: Table, start: number, end: number): void {
  const last = end - 1;
  into.first.push(from.first[start]);
  into.count.push(from.first[last] + from.count[last] - from.first[start]);
  into.step.push(from.step[last]);
  into.tokens.push(from.tokens[last]);
  into.seconds.push(from.seconds[last]);
  for (const metric of METRICS) {
    const { mean, low, high } = from.metrics[metric];
    let [sum, weight, lowest, highest] = [0, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (let row = start; row < end; row++) {
      const value = mean[row];
      if (value === null) continue;
      sum += value * from.count[row];
      weight += from.count[row];
      lowest = Math.min(lowest, low[row]!);
      highest = Math.max(highest, high[row]!);
    }
    const column = into.metrics[metric];
    // A single row keeps its exact value.
    column.mean.push(weight === 0 ? null : end - start === 1 ? mean[start] : sum / weight);
    column.low.push(weight === 0 ? null : lowest);
    column.high.push(weight === 0 ? null : highest);
  }
}
