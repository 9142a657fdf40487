import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Series } from '../series.ts';
import {
  appendRows,
  coalesce,
  emptyTable,
  MAX_ROWS,
  METRICS,
  spliceRows,
  type Table,
  widthFor,
} from './table.ts';
import { pack, unpack } from './wire.ts';

/** A series of losses, null where not finite. */
function seriesOf(losses: readonly (number | null)[]): Series {
  const series = new Series();
  losses.forEach((loss, i) => {
    series.add(JSON.stringify({ step: i + 1, tokens: (i + 1) * 10, loss, tokensPerSecond: 5 }));
  });
  return series;
}

/** Expects equal tables, except for the rounding of means. */
function expectSame(got: Table, want: Table): void {
  for (const key of ['first', 'count', 'step', 'tokens', 'seconds'] as const)
    expect(got[key]).toEqual(want[key]);
  for (const metric of METRICS) {
    expect(got.metrics[metric].low).toEqual(want.metrics[metric].low);
    expect(got.metrics[metric].high).toEqual(want.metrics[metric].high);
  }
}

// JSON has no negative zero.
const loss = fc.double({ min: -1e6, max: 1e6, noNaN: true }).map((value) => value + 0);
const losses = fc.array(fc.option(loss, { freq: 8 }), { maxLength: 200 });
const width = fc.nat(5).map((power) => 2 ** power);

describe('tables', () => {
  it('keep minimum and maximum at every width', () => {
    fc.assert(
      fc.property(losses, width, (values, wide) => {
        const { low, high, mean } = seriesOf(values).table(0, values.length, wide).metrics.loss;
        for (const [row, at] of [...low.keys()].map((row) => [row, row * wide] as const)) {
          const finite = values.slice(at, at + wide).filter((value) => value !== null);
          expect(low[row]).toBe(finite.length === 0 ? null : Math.min(...finite));
          expect(high[row]).toBe(finite.length === 0 ? null : Math.max(...finite));
          const exact = finite.reduce((sum, value) => sum + value, 0) / finite.length;
          if (finite.length > 0) expect(mean[row]).toBeCloseTo(exact, 3);
        }
      }),
    );
  });

  it('do not depend on when rows are merged', () => {
    fc.assert(
      fc.property(
        losses,
        fc.array(fc.tuple(fc.nat(40), width), { maxLength: 12 }),
        width,
        (values, moves, last) => {
          const series = seriesOf(values);
          let table = emptyTable();
          let have = 0;
          let merged = 1;
          for (const [more, wide] of [...moves, [values.length, last] as const]) {
            const to = Math.min(values.length, have + more);
            appendRows(table, series.table(have, to, 1));
            have = to;
            merged = Math.max(merged, wide);
            table = coalesce(table, wide);
          }
          expectSame(coalesce(table, merged), series.table(0, values.length, merged));
        },
      ),
    );
  });

  it('have a bounded number of rows', () => {
    for (const steps of [0, 1, MAX_ROWS, MAX_ROWS + 1, 1_000_000]) {
      const rows = Math.ceil(steps / widthFor(steps));
      expect(rows).toBeLessThanOrEqual(MAX_ROWS);
      if (steps > MAX_ROWS) expect(rows).toBeGreaterThan(MAX_ROWS / 2);
    }
  });

  it('accept finer rows in the middle', () => {
    const series = seriesOf(Array.from({ length: 64 }, (_, i) => i));
    const joined = spliceRows(series.table(0, 64, 16), series.table(16, 32, 1));
    expect(joined.count).toEqual([16, ...Array(16).fill(1), 16, 16]);
    expect(joined.metrics.loss.mean[5]).toBe(20);
    expect(spliceRows(joined, emptyTable())).toBe(joined);
  });

  it('are sent with six digits, rows of one step without extremes', () => {
    const fine = seriesOf([1.23456789, null, 3]).table(0, 3, 1);
    const sent = pack(fine);
    expect(sent.metrics.loss).toEqual({ mean: [1.23457, null, 3], low: [], high: [] });
    expect(unpack(structuredClone(sent)).metrics.loss).toEqual({
      mean: [1.23457, null, 3],
      low: [1.23457, null, 3],
      high: [1.23457, null, 3],
    });
    const coarse = unpack(pack(seriesOf([1, 5, 3]).table(0, 3, 2)));
    expect(coarse.metrics.loss).toEqual({ mean: [3, 3], low: [1, 3], high: [5, 3] });
  });
});
