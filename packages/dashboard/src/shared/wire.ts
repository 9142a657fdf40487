/** The transport format of tables: six digits, and extremes only for rows of several steps. */
import { type Column, METRICS, type Metric, type Table } from './table.ts';

/** Returns the table in its transport format. */
export function pack(table: Table): Table {
  const isFine = table.count.every((count) => count === 1);
  const metrics = {} as Record<Metric, Column>;
  for (const metric of METRICS) {
    const { mean, low, high } = table.metrics[metric];
    metrics[metric] = isFine
      ? { mean: mean.map(rounded), low: [], high: [] }
      : { mean: mean.map(rounded), low: low.map(rounded), high: high.map(rounded) };
  }
  return { ...table, seconds: table.seconds.map((seconds) => Math.round(seconds * 1000) / 1000), metrics };
}

/** Restores the extremes that {@link pack} omitted. */
export function unpack(table: Table): Table {
  for (const metric of METRICS) {
    const column = table.metrics[metric];
    if (column.low.length < column.mean.length) column.low = [...column.mean];
    if (column.high.length < column.mean.length) column.high = [...column.mean];
  }
  return table;
}

function rounded(value: number | null): number | null {
  return value === null ? null : Number(value.toPrecision(6));
}
