import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { smooth } from './curves.ts';

const ones = (values: readonly unknown[]) => values.map(() => 1);

/** The value of the regression line at index `at`, from the normal equations. */
function fitted(values: readonly (number | null)[], at: number, keep: number): number {
  let [w, wd, wdd, wv, wdv] = [0, 0, 0, 0, 0];
  values.forEach((value, j) => {
    if (value === null) return;
    const [weight, distance] = [keep ** Math.abs(j - at), j - at];
    w += weight;
    wd += weight * distance;
    wdd += weight * distance ** 2;
    wv += weight * value;
    wdv += weight * distance * value;
  });
  const slope = (w * wdv - wd * wv) / (w * wdd - wd ** 2);
  return (wv - slope * wd) / w;
}

describe('smooth', () => {
  it('equals local linear regression', () => {
    const value = fc.option(fc.double({ min: -100, max: 100, noNaN: true }), { freq: 5 });
    fc.assert(
      fc.property(
        fc.array(value, { minLength: 3, maxLength: 30 }),
        fc.integer({ min: 2, max: 50 }),
        (values, steps) => {
          fc.pre(values.filter((one) => one !== null).length > 1);
          smooth(values, ones(values), steps).forEach((got, i) => {
            if (values[i] === null) expect(got).toBeNull();
            else expect(got).toBeCloseTo(fitted(values, i, 1 - 1 / steps), 4);
          });
        },
      ),
    );
  });

  it('preserves a straight line, including its ends', () => {
    fc.assert(
      fc.property(
        fc.double({ min: -10, max: 10, noNaN: true }),
        fc.double({ min: -1, max: 1, noNaN: true }),
        fc.integer({ min: 1, max: 300 }),
        (start, slope, steps) => {
          const line = Array.from({ length: 60 }, (_, i) => start + slope * i);
          smooth(line, ones(line), steps).forEach((got, i) => {
            expect(got).toBeCloseTo(line[i], 5);
          });
        },
      ),
    );
  });

  it('returns single values unchanged, and nearly the same curve for merged rows', () => {
    expect(smooth([1, 7, null], [1, 1, 1], 1)).toEqual([1, 7, null]);
    expect(smooth([3], [5], 20)).toEqual([3]);
    expect(smooth([null, 4, null], [1, 1, 1], 20)).toEqual([null, 4, null]);
    expect(smooth([], [], 20)).toEqual([]);
    const coarse = smooth([2, 6, 4], [4, 4, 4], 32);
    const fine = smooth([2, 2, 2, 2, 6, 6, 6, 6, 4, 4, 4, 4], Array(12).fill(1), 32);
    coarse.forEach((value, i) => {
      const mean = fine.slice(4 * i, 4 * i + 4).reduce<number>((sum, one) => sum + one! / 4, 0);
      expect(Math.abs(value! - mean)).toBeLessThan(0.2);
    });
  });
});
