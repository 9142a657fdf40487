/**
 * Curves of any length in bounded room, for server and page alike.
 *
 * A row stands for `count` consecutive steps: where they end, and mean, least and greatest of each metric. Rows merge
 * into coarser ones without losing an extreme, so a spike of one step in a million is still drawn. Widths are powers of
 * two counted from the first step: what comes later merges into the same rows as what came before.
 */

/** What is drawn of a step, by its key in `metrics.jsonl`. */
export const METRICS = [
  'loss',
  'lr',
  'gradNorm',
  'tokensPerSecond',
  'mfu',
  'residentBytes',
  'backendBytes',
] as const;

/** A key of {@link METRICS}. */
export type Metric = (typeof METRICS)[number];

/** Mean of the finite values in a row, and their extremes; null where there is none. */
export interface Column {
  mean: (number | null)[];
  low: (number | null)[];
  high: (number | null)[];
}

/** Rows as columns, all of one length. */
export interface Table {
  /** Index of the first step of each row, counted from the first line of the run. */
  first: number[];
  /** Steps of each row. */
  count: number[];
  /** Step, tokens and seconds of training at the end of each row. */
  step: number[];
  tokens: number[];
  seconds: number[];
  metrics: Record<Metric, Column>;
}

/** Rows that a page holds of a run at most, and is sent. */
export const MOST_ROWS = 2000;

/** A table without rows. */
export function emptyTable(): Table {
  const column = (): Column => ({ mean: [], low: [], high: [] });
  const metrics = Object.fromEntries(METRICS.map((metric) => [metric, column()])) as Record<Metric, Column>;
  return { first: [], count: [], step: [], tokens: [], seconds: [], metrics };
}

/** The width at which `numSteps` steps make no more than {@link MOST_ROWS} rows: a power of two. */
export function widthFor(numSteps: number): number {
  let width = 1;
  while (Math.ceil(numSteps / width) > MOST_ROWS) width *= 2;
  return width;
}

/** Adds rows that follow, and merges where rows of at most `width` steps have become of one another's block. */
export function appendRows(table: Table, added: Table): void {
  for (let row = 0; row < added.first.length; row++) pushRow(table, added, row);
}

/** The rows merged into blocks of `width` steps; a row must not span blocks, rows wider than that stay. */
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

/** `table` with the rows that begin within the steps of `detail` replaced by its rows. */
export function spliceRows(table: Table, detail: Table): Table {
  if (detail.first.length === 0) return table;
  const from = detail.first[0];
  const to = detail.first.at(-1)! + detail.count.at(-1)!;
  const joined = emptyTable();
  table.first.forEach((first, row) => {
    if (first + table.count[row] <= from) pushRow(joined, table, row);
  });
  appendRows(joined, detail);
  table.first.forEach((first, row) => {
    if (first >= to) pushRow(joined, table, row);
  });
  return joined;
}

/** The rows from `from` up to `to`, exclusive. */
export function sliceRows(table: Table, from: number, to: number): Table {
  const slice = emptyTable();
  for (let row = from; row < to; row++) pushRow(slice, table, row);
  return slice;
}

function pushRow(into: Table, from: Table, row: number): void {
  pushMerged(into, from, row, row + 1);
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
    let [sum, weight, least, greatest] = [0, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (let row = start; row < end; row++) {
      const value = mean[row];
      if (value === null) continue;
      sum += value * from.count[row];
      weight += from.count[row];
      least = Math.min(least, low[row]!);
      greatest = Math.max(greatest, high[row]!);
    }
    const column = into.metrics[metric];
    // One row merged with nothing keeps its very value: sums round.
    column.mean.push(weight === 0 ? null : end - start === 1 ? mean[start] : sum / weight);
    column.low.push(weight === 0 ? null : least);
    column.high.push(weight === 0 ? null : greatest);
  }
}
