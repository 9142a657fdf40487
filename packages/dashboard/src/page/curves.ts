/** Selects, thins and smooths the rows that a chart draws. */
import { coalesce, type Metric, sliceRows, spliceRows, type Table } from '../shared/table.ts';
import { type Axis, type Curves, state } from './state.ts';

/** Returns the visible range of the x axis; undefined without data. */
export function visibleRange(): [number, number] | undefined {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const id of state.selected ?? []) {
    const curves = state.curves.get(id);
    for (const positions of [
      curves?.table[state.axis],
      curves?.validations[state.axis],
      curves?.probes[state.axis],
    ]) {
      if (!positions || positions.length === 0) continue;
      low = Math.min(low, positions[0]);
      high = Math.max(high, positions.at(-1)!);
    }
  }
  if (low > high) return undefined;
  const { zoom } = state;
  if ('from' in zoom) return [zoom.from, zoom.to];
  const from = high - (high - low) * zoom.share;
  return from < high ? [from, high] : [from - 0.5, high + 0.5];
}

/** Returns the rows in a range and one more on each side, merged to at most `maxRows`. */
export function rowsInView({ table, detail }: Curves, [low, high]: [number, number], maxRows: number): Table {
  const fine = detail ? spliceRows(table, detail) : table;
  const [from, to] = rowRange(fine, state.axis, low, high);
  let rows = sliceRows(fine, from, to);
  for (let width = 2; rows.first.length > maxRows; width *= 2) rows = coalesce(rows, width);
  return rows;
}

/** Returns the indices of the rows in a range and one more on each side; the end is exclusive. */
export function rowRange(table: Table, axis: Axis, low: number, high: number): [number, number] {
  const positions = table[axis];
  let from = 0;
  while (from < positions.length && positions[from] < low) from++;
  let to = from;
  while (to < positions.length && positions[to] <= high) to++;
  return [Math.max(0, from - 1), Math.min(positions.length, to + 1)];
}

/**
 * Smooths values over about `steps` steps on both sides with local linear regression and exponential weights.
 *
 * A trailing moving average lies above a falling curve, and any average is biased at its ends; a local line is neither.
 * Values are weighted by their number of steps, so coarse and fine rows give the same curve.
 *
 * @param counts the number of steps of each value
 */
export function smooth(
  values: readonly (number | null)[],
  counts: readonly number[],
  steps: number,
): (number | null)[] {
  const keep = 1 - 1 / steps;
  const forward = [...values.keys()];
  const sums = forward.map(() => [0, 0, 0, 0, 0]);
  // Sums of w, w·d, w·d², w·v and w·d·v over values v at distances d with weights w, first of those before.
  for (const [order, sign] of [
    [forward, -1],
    [forward.toReversed(), 1],
  ] as const) {
    let [w, wd, wdd, wv, wdv] = [0, 0, 0, 0, 0];
    let previous = 0;
    for (const i of order) {
      const away = (previous + counts[i]) / 2;
      const kept = previous === 0 ? 0 : keep ** away;
      wdd = kept * (wdd + 2 * away * wd + away * away * w);
      wd = kept * (wd + away * w);
      w *= kept;
      wdv = kept * (wdv + away * wv);
      wv *= kept;
      const all = sums[i];
      for (const [at, sum] of [w, sign * wd, wdd, wv, sign * wdv].entries()) all[at] += sum;
      previous = counts[i];
      if (values[i] === null) continue;
      w += counts[i];
      wv += counts[i] * values[i];
      if (sign > 0) continue;
      all[0] += counts[i];
      all[3] += counts[i] * values[i];
    }
  }
  return values.map((value, i) => {
    if (value === null) return null;
    const [w, wd, wdd, wv, wdv] = sums[i];
    const spread = w * wdd - wd * wd;
    return spread > 1e-9 * w * w ? (wdd * wv - wd * wdv) / spread : wv / w;
  });
}

export function lastValue({ table }: Curves, metric: Metric): number | null {
  return table.metrics[metric].mean.findLast((value) => value !== null) ?? null;
}
