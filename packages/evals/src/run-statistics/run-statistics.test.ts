/** Against SciPy, lifelines and statsmodels (fixtures/make_run_statistics.py), by properties, and by simulation. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { EvalsError } from '../error.ts';
import { PythonRandom } from '../python-random.ts';
import { twoSidedCoin } from '../student-t.ts';
import { pairedTTest } from '../t-test.ts';
import { bootstrapInterval } from './bootstrap.ts';
import { standardizedDifference } from './effect-size.ts';
import { adjustHolm } from './multiple-comparisons.ts';
import { normalCdf, normalQuantile, twoSidedNormal } from './normal.ts';
import { signFlipTest } from './sign-flip-test.ts';
import { type EventTime, kaplanMeier, logRankTest, medianTime, pairedLogRankTest } from './survival.ts';

interface Fixture {
  differences: {
    name: string;
    values: number[];
    signFlip: number;
    bootstrap: [number, number];
    hedges: number;
  }[];
  groups: {
    name: string;
    a: EventTime[];
    b: EventTime[];
    survival: { points: ReturnType<typeof kaplanMeier>; median: number | null };
    logRank: { statistic: number; pValue: number };
    paired: { difference: number; pValue: number } | null;
  }[];
  holm: { pValues: number[]; adjusted: number[] }[];
  normal: { z: number; cdf: number; twoSided: number }[];
  quantiles: { p: number; z: number }[];
}
const fixture: Fixture = JSON.parse(
  readFileSync(new URL('../../fixtures/run-statistics.json', import.meta.url), 'utf8'),
);

/** Relative, so that tiny p-values count too. */
function expectNear(got: number, wanted: number, what: string): void {
  const gap = Math.abs(got - wanted);
  expect(gap, `${what}: ${got} for ${wanted}`).toBeLessThanOrEqual(1e-9 * Math.abs(wanted));
}

/** Normal values by Box and Muller. */
function normals(random: PythonRandom, count: number): number[] {
  return Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(1 - random.random())) * Math.cos(2 * Math.PI * random.random()),
  );
}

/** Share of `count` simulations that have it. */
function share(count: number, has: (random: PythonRandom) => boolean): number {
  const random = new PythonRandom(7);
  let hits = 0;
  for (let i = 0; i < count; i++) hits += Number(has(random));
  return hits / count;
}

describe('the normal distribution', () => {
  it.each(fixture.normal)('has SciPy’s tails at $z', ({ z, cdf, twoSided }) => {
    expectNear(normalCdf(z), cdf, 'cdf');
    expectNear(twoSidedNormal(z), twoSided, 'both sides');
  });

  it.each(fixture.quantiles)('has SciPy’s quantile of $p', ({ p, z }) => {
    expect(Math.abs(normalQuantile(p) - z)).toBeLessThan(1e-9);
  });
});

describe.each(fixture.differences)('differences, $name', ({ values, signFlip, bootstrap, hedges }) => {
  test('the sign-flip test is SciPy’s exact permutation test', () => {
    const { pValue, isExact } = signFlipTest(values);
    expect(isExact).toBe(true);
    expectNear(pValue, signFlip, 'p');
  });

  test('the interval is SciPy’s BCa, but for the noise of its draws', () => {
    const [low, high] = bootstrapInterval(values)!;
    const width = bootstrap[1] - bootstrap[0];
    // A few values have few resamples, whose quantiles SciPy interpolates.
    const tolerance = values.length < 7 ? 0.05 : 0.02;
    expect(Math.abs(low - bootstrap[0]) / width).toBeLessThan(tolerance);
    expect(Math.abs(high - bootstrap[1]) / width).toBeLessThan(tolerance);
  });

  test('the effect size is that of its formula with SciPy’s gamma function', () => {
    expectNear(standardizedDifference(values)!, hedges, 'g');
  });
});

describe.each(fixture.groups)('times to an event, $name', ({ a, b, survival, logRank, paired }) => {
  test('the curve, its intervals and its median are those of lifelines', () => {
    const curve = kaplanMeier(a);
    expect(curve).toHaveLength(survival.points.length);
    curve.forEach((point, i) => {
      const wanted = survival.points[i];
      expect(point).toMatchObject({
        time: wanted.time,
        numAtRisk: wanted.numAtRisk,
        numEvents: wanted.numEvents,
      });
      expect(point.survival).toBeCloseTo(wanted.survival, 12);
      // lifelines leaves the interval of a survival of 0 undefined.
      if (point.survival === 0) return;
      for (const end of [0, 1]) expect(point.interval[end]).toBeCloseTo(wanted.interval[end], 9);
    });
    // By rounding, lifelines takes the next time where exactly half of the runs wait.
    const isTie = curve.some(({ survival }) => Math.abs(survival - 0.5) < 1e-9);
    if (!isTie) expect(medianTime(curve) ?? null).toBe(survival.median);
  });

  test('the log-rank test is that of lifelines', () => {
    const got = logRankTest(a, b);
    expectNear(got.statistic, logRank.statistic, 'χ²');
    expectNear(got.pValue, logRank.pValue, 'p');
  });

  test.skipIf(!paired)('the paired log-rank test is its definition by brute force', () => {
    const got = pairedLogRankTest(a, b);
    expectNear(got.difference, paired!.difference, 'difference');
    expectNear(got.pValue, paired!.pValue, 'p');
  });
});

describe('signFlipTest', () => {
  it('estimates where there are too many pairs to count, near the exact test of their half', () => {
    const values = normals(new PythonRandom(3), 24).map((value) => value + 0.4);
    const estimate = signFlipTest(values);
    expect(estimate.isExact).toBe(false);
    expect(signFlipTest(values, { seed: 1 }).pValue).not.toBe(estimate.pValue);
    // For 24 normal differences the t-test is nearly the same test.
    const zeros = values.map(() => 0);
    expect(estimate.pValue).toBeCloseTo(pairedTTest(values, zeros)!.pValue, 1);
  });

  it('counts signs where all differences have one size, however many, and passes over zeros', () => {
    const values = [...Array(40).fill(0.25), ...Array(24).fill(-0.25), ...Array(1000).fill(0)];
    expect(signFlipTest(values)).toMatchObject({ pValue: twoSidedCoin(40, 24), isExact: true });
    expect(signFlipTest([0, 0]).pValue).toBe(1);
    expect(signFlipTest([0.1, 0.1]).pValue).toBe(0.5);
  });

  it('property: p does not depend on order, sign or scale, and is at least 2^(1 − n)', () => {
    const differences = fc.array(fc.double({ min: -1e3, max: 1e3, noNaN: true }), {
      minLength: 1,
      maxLength: 10,
    });
    fc.assert(
      fc.property(differences, (values) => {
        const { pValue } = signFlipTest(values);
        expect(pValue).toBeGreaterThanOrEqual(2 ** (1 - values.length));
        expect(pValue).toBeLessThanOrEqual(1);
        expect(signFlipTest([...values].reverse()).pValue).toBeCloseTo(pValue, 12);
        expect(signFlipTest(values.map((value) => -4 * value)).pValue).toBeCloseTo(pValue, 12);
      }),
    );
  });

  it('rejects a true hypothesis in at most 5 % of eight pairs, and a shift of 1.2 deviations in over 75 %', () => {
    const rejects = (shift: number) => (random: PythonRandom) =>
      signFlipTest(normals(random, 8).map((value) => value + shift)).pValue <= 0.05;
    const falsePositives = share(2000, rejects(0));
    // Three standard errors of 2,000 simulations are .015.
    expect(falsePositives).toBeGreaterThan(0.03);
    expect(falsePositives).toBeLessThan(0.065);
    expect(share(500, rejects(1.2))).toBeGreaterThan(0.75);
  });
});

test('the median is the first time at which no more than half of the runs wait', () => {
  const runs = [1, 2, 3, 4].map((time) => ({ time, observed: true }));
  expect(medianTime(kaplanMeier(runs))).toBe(2);
  expect(medianTime(kaplanMeier(runs.map((run) => ({ ...run, observed: run.time < 2 }))))).toBeUndefined();
});

describe('pairedLogRankTest', () => {
  const pairsOf = (random: PythonRandom, slower: number) =>
    Array.from({ length: 8 }, () => {
      // A seed is fast or slow under both conditions, and all runs end at 4.
      const seed = Math.exp(normals(random, 1)[0]);
      const run = (scale: number) => {
        const time = -Math.log(1 - random.random()) * scale * seed;
        return { time: Math.min(time, 4), observed: time < 4 };
      };
      return [run(1), run(slower)];
    });
  const rejects = (slower: number) => (random: PythonRandom) => {
    const pairs = pairsOf(random, slower);
    const [a, b] = [0, 1].map((side) => pairs.map((pair) => pair[side]));
    return pairedLogRankTest(a, b).pValue <= 0.05;
  };

  it('rejects a true hypothesis in at most 5 %, and one of ten times the time in over 75 %', () => {
    expect(share(1000, rejects(1))).toBeLessThan(0.07);
    expect(share(300, rejects(10))).toBeGreaterThan(0.75);
  });

  it('finds nothing where no run has the event', () => {
    const never = [1, 2].map(() => ({ time: 5, observed: false }));
    expect(pairedLogRankTest(never, never)).toEqual({ difference: 0, pValue: 1, isExact: true });
    expect(logRankTest(never, never)).toEqual({ statistic: 0, pValue: 1, observed: 0, expected: 0 });
    expect(kaplanMeier(never)).toEqual([]);
  });
});

describe('bootstrapInterval', () => {
  it('holds the mean of five normal values in about 83 % of samples', () => {
    const holds = (random: PythonRandom) => {
      const [low, high] = bootstrapInterval(normals(random, 5))!;
      return low <= 0 && 0 <= high;
    };
    const coverage = share(2000, holds);
    // Three standard errors are .025.
    expect(coverage).toBeGreaterThan(0.808);
    expect(coverage).toBeLessThan(0.858);
  });

  it('of more confidence is wider', () => {
    const values = [1, 2, 4, 8, 3];
    const [narrow, wide] = [0.5, 0.99].map((confidence) => bootstrapInterval(values, { confidence })!);
    expect(wide[0]).toBeLessThan(narrow[0]);
    expect(wide[1]).toBeGreaterThan(narrow[1]);
  });
});

test.each([[[3, 3, 3]], [[0.3 - 0.2, 0.5 - 0.4, 0.2 - 0.1]], [[1, 2]], [[1]]])(
  '%j has no interval and no effect size',
  (values) => {
    expect(bootstrapInterval(values)).toBeUndefined();
    expect(standardizedDifference(values)).toBeUndefined();
  },
);

describe('adjustHolm', () => {
  it.each(fixture.holm)('is that of statsmodels for $pValues', ({ pValues, adjusted }) => {
    adjustHolm(pValues).forEach((value, i) => {
      expect(value).toBeCloseTo(adjusted[i], 12);
    });
  });
});

test.each([
  ['no runs', () => kaplanMeier([]), 'kaplanMeier: got 0 values, expected at least 1'],
  ['an infinite time', () => kaplanMeier([{ time: Infinity, observed: false }]), 'observed: false'],
  ['a negative time', () => logRankTest([{ time: -1, observed: true }], []), 'got the time -1'],
  ['unequal sides', () => pairedLogRankTest([], [{ time: 1, observed: true }]), 'got 0 and 1 runs'],
  ['no differences', () => signFlipTest([]), 'signFlipTest: got 0 values'],
  ['a probability above 1', () => adjustHolm([2]), 'adjustHolm: got 2'],
])('%s is refused', (_, act, message) => {
  expect(act).toThrow(EvalsError);
  expect(act).toThrow(message);
});
