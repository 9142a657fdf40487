import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createMasker } from './masker.ts';

const MASK = 9;

/** Pearson's statistic of observed against expected counts. */
function chiSquare(observed: number[], expected: number[]): number {
  return observed.reduce((sum, count, i) => sum + (count - expected[i]) ** 2 / expected[i], 0);
}

/** How often each set of positions is drawn over `numRows` rows. */
function countSets(masker: ReturnType<typeof createMasker>, row: Int32Array, numRows: number) {
  const counts = new Map<string, number>();
  for (let index = 0; index < numRows; index++) {
    const set = masker.positions(row, { step: index % 100, row: Math.floor(index / 100) }).join();
    counts.set(set, (counts.get(set) ?? 0) + 1);
  }
  return counts;
}

describe('per-sequence', () => {
  it('draws every subset equally often', () => {
    const masker = createMasker({ ratio: 0.4, maskId: MASK, seed: 3 });
    const counts = [...countSets(masker, new Int32Array(5), 20_000).values()];
    expect(counts.length).toBe(10);
    // 9 degrees of freedom: 99.9 % lie below 27.9.
    expect(
      chiSquare(
        counts,
        counts.map(() => 2000),
      ),
    ).toBeLessThan(27.9);
  });

  it('draws every position of a long row equally often, the first and the last too', () => {
    const length = 256;
    const numRows = 4000;
    const count = Math.floor(length * 0.15);
    const masker = createMasker({ ratio: 0.15, maskId: MASK });
    const counts = new Array<number>(length).fill(0);
    for (let row = 0; row < numRows; row++) {
      for (const position of masker.positions(new Int32Array(length), { step: 8, row })) counts[position]++;
    }
    const expected = counts.map(() => (numRows * count) / length);
    // Positions of a row exclude each other, which lowers the variance by this factor.
    const statistic = chiSquare(counts, expected) * ((length - 1) / (length - count));
    // 255 degrees of freedom: 99.9 % lie below 330, 0.1 % below 190.
    expect(statistic).toBeLessThan(330);
    expect(statistic).toBeGreaterThan(190);
  });
});

describe('bernoulli', () => {
  it('masks each position with the given probability, so that counts are binomial', () => {
    const length = 100;
    const numRows = 5000;
    const masker = createMasker({ strategy: 'bernoulli', ratio: 0.15, maskId: MASK, seed: 2 });
    const counts = Array.from(
      { length: numRows },
      (_, row) => masker.positions(new Int32Array(length), { step: 0, row }).length,
    );
    const mean = counts.reduce((sum, count) => sum + count, 0) / numRows;
    const variance = counts.reduce((sum, count) => sum + (count - mean) ** 2, 0) / numRows;
    // Standard errors: 0.05 of the mean, 0.26 of the variance.
    expect(Math.abs(mean - 15)).toBeLessThan(0.2);
    expect(Math.abs(variance - 12.75)).toBeLessThan(1);
  });
});

describe('span', () => {
  it('masks exactly floor(T · P) tokens in whole spans and one shorter span', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 400 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        fc.integer({ min: 1, max: 60 }),
        fc.constantFrom<number[]>([], [3]),
        fc.nat(),
        (ids, ratio, spanLength, keepIds, step) => {
          const masker = createMasker({ strategy: 'span', ratio, spanLength, keepIds, maskId: MASK });
          const positions = masker.positions(Int32Array.from(ids), { step, row: 0 });
          const free = [...ids.keys()].filter((position) => !keepIds.includes(ids[position]));
          const count = Math.min(free.length, Math.floor(ids.length * ratio));
          expect(positions.length).toBe(count);
          // Runs among the positions that may be masked: kept tokens lie inside spans without ending them.
          const indices = [...positions].map((position) => free.indexOf(position));
          const runs: number[] = [];
          for (const [i, index] of indices.entries()) {
            if (i > 0 && index === indices[i - 1] + 1) runs[runs.length - 1]++;
            else runs.push(1);
          }
          // Spans may touch, so a run is a multiple of the span length, but for the one with the cut span.
          const odd = runs.filter((run) => run % spanLength !== 0);
          expect(odd.length).toBe(count % spanLength === 0 ? 0 : 1);
          if (odd.length === 1) expect(odd[0] % spanLength).toBe(count % spanLength);
        },
      ),
    );
  });

  it('draws every arrangement equally often', () => {
    const [length, spanLength] = [8, 2];
    const masker = createMasker({ strategy: 'span', ratio: 3 / 8, spanLength, maskId: MASK, seed: 6 });
    // All ways to put a span of two and a span of one into eight positions, in either order.
    const weights = new Map<string, number>();
    for (const [first, second] of [
      [2, 1],
      [1, 2],
    ]) {
      for (let a = 0; a < length; a++) {
        for (let b = a + first; b + second <= length; b++) {
          const set = [...Array(first).keys()]
            .map((i) => a + i)
            .concat([...Array(second).keys()].map((i) => b + i));
          weights.set(set.join(), (weights.get(set.join()) ?? 0) + 1);
        }
      }
    }
    const numRows = 42_000;
    const counts = countSets(masker, new Int32Array(length), numRows);
    expect([...counts.keys()].sort()).toEqual([...weights.keys()].sort());
    const total = [...weights.values()].reduce((sum, weight) => sum + weight, 0);
    expect(total).toBe(42);
    const sets = [...weights.keys()];
    const statistic = chiSquare(
      sets.map((set) => counts.get(set)!),
      sets.map((set) => (numRows * weights.get(set)!) / total),
    );
    // 35 degrees of freedom: 99.9 % lie below 66.6.
    expect(sets.length).toBe(36);
    expect(statistic).toBeLessThan(66.6);
  });
});
