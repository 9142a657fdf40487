import { PythonRandom } from '../python-random.ts';
import { mean, requireSize } from '../statistics.ts';
import { twoSidedCoin } from '../student-t.ts';

/** Whether the mean of paired differences is 0, without assuming a distribution. */
export interface SignFlipTest {
  /** Mean of the differences. */
  readonly difference: number;
  /** Probability of a mean at least as far from 0 if every difference could as well have the other sign; both sides. */
  readonly pValue: number;
  /** Whether all assignments of signs were counted. If not, `pValue` is an estimate from `NUM_DRAWS` of them. */
  readonly isExact: boolean;
}

/** Up to this many pairs every assignment of signs is counted; 2^20 of them take a few milliseconds. */
const MAX_EXACT_PAIRS = 20;

const NUM_DRAWS = 100_000;

/**
 * Paired permutation test (Fisher 1935): the same seeds under two conditions.
 *
 * Exact for up to 20 pairs that differ, and for any number of differences of one size. n pairs cannot give a p-value
 * below 2^(1 − n): 0.0625 for five, 0.0078 for eight.
 *
 * @param differences one value a pair, the first condition less the second
 * @param options `seed` of the draws where there are more pairs
 * @throws EvalsError for an empty sample
 */
export function signFlipTest(differences: ArrayLike<number>, { seed = 0 } = {}): SignFlipTest {
  requireSize('signFlipTest', differences, 1);
  // The sign of 0 changes no sum.
  const sizes = Array.from(differences, Math.abs).filter((size) => size > 0);
  const observed = Math.abs(Array.from(differences).reduce((sum, value) => sum + value, 0));
  // Sums of the same values in another order differ by rounding; they count as equal.
  const threshold = observed - 1e-12 * sizes.reduce((sum, size) => sum + size, 0);
  const hasOneSize = sizes.every((size) => Math.abs(size - sizes[0]) <= 1e-12 * sizes[0]);
  const isFew = sizes.length <= MAX_EXACT_PAIRS;
  const pValue = isFew
    ? exactShare(sizes, threshold)
    : hasOneSize
      ? tossShare(differences)
      : estimatedShare(sizes, threshold, seed);
  return { difference: mean(differences), pValue, isExact: isFew || hasOneSize };
}

/** Of differences of one size only the number of each sign counts. */
function tossShare(differences: ArrayLike<number>): number {
  const signs = Array.from(differences, Math.sign);
  const count = (sign: number) => signs.filter((one) => one === sign).length;
  return twoSidedCoin(count(1), count(-1));
}

/** Share of all assignments of signs whose sum is at least `threshold` from 0. */
function exactShare(sizes: readonly number[], threshold: number): number {
  let sums = Float64Array.of(sizes[0] ?? 0);
  // The first sign stays +: turning all signs around changes no absolute sum.
  for (const size of sizes.slice(1)) {
    const next = new Float64Array(2 * sums.length);
    sums.forEach((sum, i) => {
      next[2 * i] = sum + size;
      next[2 * i + 1] = sum - size;
    });
    sums = next;
  }
  return sums.reduce((count, sum) => count + Number(Math.abs(sum) >= threshold), 0) / sums.length;
}

/** An unbiased estimate would let the p-value be 0; the observed assignment is one of those counted. */
function estimatedShare(sizes: readonly number[], threshold: number, seed: number): number {
  const random = new PythonRandom(seed);
  let count = 1;
  for (let draw = 0; draw < NUM_DRAWS; draw++) {
    const sum = sizes.reduce((sum, size) => (random.random() < 0.5 ? sum + size : sum - size), 0);
    if (Math.abs(sum) >= threshold) count++;
  }
  return count / (NUM_DRAWS + 1);
}
