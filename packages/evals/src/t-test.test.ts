import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EvalsError } from './error.ts';
import { mean, standardError, variance } from './statistics.ts';
import { criticalT, twoSidedCoin, twoSidedT } from './student-t.ts';
import { mcNemarTest, pairedTTest, type TTest, welchTTest } from './t-test.ts';

interface Test extends Omit<TTest, 'difference'> {}
interface Fixture {
  pairs: {
    name: string;
    a: number[];
    b: number[];
    describe: { mean: number; variance: number; standardError: number };
    paired: Test;
    welch: Test;
    welchUnequal: Test;
  }[];
  tails: { t: number; df: number; pValue: number }[];
  quantiles: { pValue: number; df: number; t: number }[];
  mcnemar: { onlyA: number; onlyB: number; pValue: number }[];
}
const scipy: Fixture = JSON.parse(
  readFileSync(new URL('../fixtures/statistics.json', import.meta.url), 'utf8'),
);

/** Relative, so that tiny p-values count too. */
function expectNear(got: number, wanted: number, what: string): void {
  expect(Math.abs(got - wanted), `${what}: ${got} for ${wanted}`).toBeLessThanOrEqual(
    1e-9 * Math.abs(wanted),
  );
}

function expectTest(got: TTest | undefined, wanted: Test): void {
  if (!got) throw new Error('no test');
  for (const key of ['statistic', 'degreesOfFreedom', 'pValue'] as const)
    expectNear(got[key], wanted[key], key);
  // An end of an interval can lie near 0, the width cannot.
  const width = wanted.interval[1] - wanted.interval[0];
  for (const end of [0, 1])
    expect(Math.abs(got.interval[end] - wanted.interval[end])).toBeLessThan(1e-9 * width);
}

describe('as SciPy', () => {
  describe.each(scipy.pairs)('$name', ({ a, b, ...wanted }) => {
    test('mean, variance, standard error', () => {
      expectNear(mean(a), wanted.describe.mean, 'mean');
      expectNear(variance(a), wanted.describe.variance, 'variance');
      expectNear(standardError(a), wanted.describe.standardError, 'standardError');
    });
    test.skipIf(a.length < 3)('paired t-test', () => expectTest(pairedTTest(a, b), wanted.paired));
    test.skipIf(a.length < 3)('Welch’s t-test', () => expectTest(welchTTest(a, b), wanted.welch));
    const third = Math.floor(b.length / 3);
    test.skipIf(third < 3)('Welch’s t-test of samples of different sizes', () =>
      expectTest(welchTTest(a, b.slice(0, third)), wanted.welchUnequal),
    );
  });

  test('tails and quantiles of t', () => {
    for (const { t, df, pValue } of scipy.tails) expectNear(twoSidedT(t, df), pValue, `t ${t}, df ${df}`);
    for (const { t, df, pValue } of scipy.quantiles)
      expectNear(criticalT(pValue, df), t, `p ${pValue}, df ${df}`);
  });

  test('McNemar’s exact p', () => {
    for (const { onlyA, onlyB, pValue } of scipy.mcnemar) {
      expectNear(twoSidedCoin(onlyA, onlyB), pValue, `${onlyA}, ${onlyB}`);
    }
  });
});

describe('properties', () => {
  const sample = fc.array(fc.double({ min: -1e3, max: 1e3, noNaN: true }), { minLength: 3, maxLength: 30 });

  test('a shifted sample differs by the shift; swapping inverts the sign', () => {
    fc.assert(
      fc.property(sample, fc.double({ min: -10, max: 10, noNaN: true }), (values, shift) => {
        const shifted = values.map((value, i) => value + shift + (i % 3) * 1e-3);
        const [forth, back] = [welchTTest(values, shifted)!, welchTTest(shifted, values)!];
        expect(forth.difference).toBeCloseTo(-back.difference, 9);
        expect(forth.pValue).toBeCloseTo(back.pValue, 9);
        const paired = pairedTTest(shifted, values)!;
        expect(paired.interval[0]).toBeLessThanOrEqual(paired.difference);
        expect(paired.pValue).toBeGreaterThanOrEqual(0);
        expect(paired.pValue).toBeLessThanOrEqual(1);
      }),
    );
  });

  test('the interval holds 0 exactly where p is above 0.05', () => {
    fc.assert(
      fc.property(sample, sample, (a, b) => {
        const test = welchTTest(a, b);
        fc.pre(test !== undefined && Math.abs(test.pValue - 0.05) > 1e-6);
        const { interval, pValue } = test!;
        expect(interval[0] <= 0 && interval[1] >= 0).toBe(pValue > 0.05);
      }),
    );
  });

  test('tosses: p of the exact sum of binomials', () => {
    fc.assert(
      fc.property(fc.nat(30), fc.nat(30), (heads, tails) => {
        const n = heads + tails;
        let [term, sum] = [1, 0];
        for (let k = 0; k <= Math.min(heads, tails); k++) {
          sum += term;
          term = (term * (n - k)) / (k + 1);
        }
        expect(twoSidedCoin(heads, tails)).toBeCloseTo(Math.min(1, (2 * sum) / 2 ** n), 12);
      }),
    );
  });
});

test.each([
  ['equal samples', [1, 2, 3], [1, 2, 3]],
  ['equal differences', [2, 3, 4], [1, 2, 3]],
  ['differences that are equal but for rounding', [0.3, 0.5, 0.2, 100.1], [0.2, 0.4, 0.1, 100]],
  ['sums in another order', [0.1 + 0.2 + 0.3, 0.7, 4], [0.3 + 0.2 + 0.1, 0.7, 4]],
  ['two items', [1, 2], [1.5, 2.25]],
  ['one item', [1], [2]],
])('there is no paired t-test of %s', (_, a, b) => {
  expect(pairedTTest(a, b)).toBeUndefined();
});

test('there is no Welch’s t-test of constants, or of two values', () => {
  expect(welchTTest([1, 1, 1], [2, 2, 2])).toBeUndefined();
  expect(welchTTest([1, 2], [2, 3, 4])).toBeUndefined();
  expect(welchTTest([1, 1, 1], [2, 2, 3])!.pValue).toBeGreaterThan(0);
});

test('McNemar counts items that only one has right', () => {
  expect(mcNemarTest([1, 1, 0, 0, 1], [1, 0, 1, 0, 0])).toMatchObject({ onlyA: 2, onlyB: 1 });
});

test.each([
  () => mean([]),
  () => variance([1]),
  () => pairedTTest([1, 2], [1]),
  () => mcNemarTest([1], []),
  () => mcNemarTest([1, 0.5], [1, 0]),
])('refuses what has no answer: %s', (call) => {
  expect(call).toThrow(EvalsError);
});
