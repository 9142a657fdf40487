import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SftError } from './error.ts';
import { planPacking } from './packing.ts';

/** Best fit, longest first, the naive way: every open row is tried. */
function naiveSpaces(lengths: number[], length: number): number[] {
  const spaces: number[] = [];
  for (const size of [...lengths].filter((n) => n > 0).sort((a, b) => b - a)) {
    let best = -1;
    for (const [bin, space] of spaces.entries()) {
      if (space >= size && (best === -1 || space < spaces[best])) best = bin;
    }
    if (best === -1) spaces.push(length - size);
    else spaces[best] -= size;
  }
  return spaces.sort((a, b) => a - b);
}

const fill = (members: Int32Array, lengths: number[]) =>
  members.reduce((sum, member) => sum + lengths[member], 0);

const problem = fc.integer({ min: 1, max: 100 }).chain((length) =>
  fc.record({
    length: fc.constant(length),
    lengths: fc.array(fc.integer({ min: 0, max: length }), { maxLength: 120 }),
  }),
);

describe('planPacking', () => {
  it('puts every row in one packed row, none over the length', () => {
    fc.assert(
      fc.property(problem, fc.integer({ min: 1, max: 150 }), ({ length, lengths }, window) => {
        const plan = planPacking(lengths, { length, window });
        const members = plan.flatMap((bin) => [...bin]).sort((a, b) => a - b);
        expect(members).toEqual([...lengths.keys()].filter((row) => lengths[row] > 0));
        for (const bin of plan) {
          expect(fill(bin, lengths)).toBeLessThanOrEqual(length);
          expect(new Set(Array.from(bin, (row) => Math.floor(row / window))).size).toBe(1);
          expect([...bin]).toEqual([...bin].sort((a, b) => a - b));
        }
        expect(planPacking(lengths, { length, window })).toEqual(plan);
      }),
      { numRuns: 500 },
    );
  });

  it('leaves the same space as naive best fit, window by window', () => {
    fc.assert(
      fc.property(problem, fc.integer({ min: 1, max: 150 }), ({ length, lengths }, window) => {
        const spaces: number[] = [];
        for (let start = 0; start < lengths.length; start += window) {
          spaces.push(...naiveSpaces(lengths.slice(start, start + window), length));
        }
        const plan = planPacking(lengths, { length, window });
        expect(plan.map((bin) => length - fill(bin, lengths)).sort((a, b) => a - b)).toEqual(
          spaces.sort((a, b) => a - b),
        );
      }),
      { numRuns: 500 },
    );
  });

  it('needs at most 11/9 of the fewest possible rows and one more', () => {
    // Parts of full rows, whose best packing is known.
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.integer({ min: 1, max: 99 }), { minLength: 1, maxLength: 8 }), {
          minLength: 1,
          maxLength: 20,
        }),
        (cuts) => {
          const lengths = cuts.flatMap((row) => {
            const ends = [...new Set([...row, 100])].sort((a, b) => a - b);
            return ends.map((end, i) => end - (ends[i - 1] ?? 0));
          });
          expect(planPacking(lengths, { length: 100 }).length).toBeLessThanOrEqual(
            (11 / 9) * cuts.length + 1,
          );
        },
      ),
    );
  });

  it('by hand: 7, 6, 4, 3 in rows of 10', () => {
    const plan = planPacking([3, 6, 7, 4], { length: 10 });
    // 7 and 3 are a full row, 6 and 4 too; the row of 6 comes first, as its longest member does.
    expect(plan.map((bin) => [...bin])).toEqual([
      [1, 3],
      [0, 2],
    ]);
    expect(planPacking([3, 6, 7, 4], { length: 10, window: 2 }).map((bin) => [...bin])).toEqual([
      [0, 1],
      [2],
      [3],
    ]);
  });

  it('packs 100,000 rows of long-tailed lengths, most of them one step apart', () => {
    const lengths = Array.from({ length: 100_000 }, (_, i) => 1 + ((i * 2_654_435_761) % 4096));
    const plan = planPacking(lengths, { length: 4096, window: 100_000 });
    const total = lengths.reduce((sum, size) => sum + size, 0);
    expect(total / (plan.length * 4096)).toBeGreaterThan(0.99);
  });

  it('returns nothing for no rows', () => {
    expect(planPacking([], { length: 5 })).toEqual([]);
    expect(planPacking([0, 0], { length: 5 })).toEqual([]);
  });

  it.each([
    [[6], { length: 5 }],
    [[1.5], { length: 5 }],
    [[-1], { length: 5 }],
    [[1], { length: 0 }],
    [[1], { length: 5, window: 0 }],
  ])('refuses %o in %o in one line', (lengths, options) => {
    expect(() => planPacking(lengths, options)).toThrow(SftError);
    expect(() => planPacking(lengths, options)).toThrow(/^planPacking: .*got .*expected [^\n]*$/);
  });
});
