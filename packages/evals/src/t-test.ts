import { EvalsError } from './error.ts';
import { isVaried, mean, standardError, variance } from './statistics.ts';
import { criticalT, twoSidedCoin, twoSidedT } from './student-t.ts';

/** Test of a difference of means. */
export interface TTest {
  /** Mean of the first sample minus mean of the second. */
  readonly difference: number;
  /** 95 % confidence interval of the difference. */
  readonly interval: readonly [low: number, high: number];
  /** Student's t. */
  readonly statistic: number;
  readonly degreesOfFreedom: number;
  /** Two-sided. */
  readonly pValue: number;
}

/**
 * Paired t-test: the same items, measured twice.
 *
 * @param a one value per item
 * @param b values of the same items in the same order
 * @returns undefined for fewer than three items, or differences without variance, which this test cannot judge; then see
 *   `signFlipTest`
 * @throws EvalsError for samples of different sizes
 */
export function pairedTTest(a: ArrayLike<number>, b: ArrayLike<number>): TTest | undefined {
  if (a.length !== b.length) {
    throw new EvalsError(
      `pairedTTest: got ${a.length} and ${b.length} values, expected the same number; omit items that only one has`,
    );
  }
  const differences = Float64Array.from(a, (value, i) => value - b[i]);
  if (!isVaried(differences, [a, b])) return undefined;
  return tTest(mean(differences), standardError(differences), a.length - 1);
}

/**
 * Welch's t-test: independent samples, possibly of different variances and sizes.
 *
 * @returns undefined for fewer than three values in a sample, or no variance in either
 */
export function welchTTest(a: ArrayLike<number>, b: ArrayLike<number>): TTest | undefined {
  if (Math.min(a.length, b.length) < 3 || !(isVaried(a, [a, b]) || isVaried(b, [a, b]))) return undefined;
  const [squareA, squareB] = [variance(a) / a.length, variance(b) / b.length];
  const square = squareA + squareB;
  // Welch–Satterthwaite, with shares of the sum to avoid underflow of squares.
  const [shareA, shareB] = [squareA / square, squareB / square];
  const degrees = 1 / (shareA ** 2 / (a.length - 1) + shareB ** 2 / (b.length - 1));
  return tTest(mean(a) - mean(b), Math.sqrt(square), degrees);
}

/** Test of a difference of two shares of correct answers to the same questions. */
export interface McNemarTest {
  /** Items that are correct only in the first. */
  readonly onlyA: number;
  /** Items that are correct only in the second. */
  readonly onlyB: number;
  /** Exact and two-sided. */
  readonly pValue: number;
}

/**
 * McNemar's exact test: the same questions, each correct (1) or wrong (0).
 *
 * @throws EvalsError for samples of different sizes, or a value that is neither 0 nor 1
 */
export function mcNemarTest(a: ArrayLike<number>, b: ArrayLike<number>): McNemarTest {
  if (a.length !== b.length) {
    throw new EvalsError(`mcNemarTest: got ${a.length} and ${b.length} values, expected the same number`);
  }
  let [onlyA, onlyB] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    for (const value of [a[i], b[i]]) {
      if (value !== 0 && value !== 1) {
        throw new EvalsError(`mcNemarTest: got ${value} at ${i}, expected 0 or 1`);
      }
    }
    if (a[i] > b[i]) onlyA++;
    if (b[i] > a[i]) onlyB++;
  }
  return { onlyA, onlyB, pValue: twoSidedCoin(onlyA, onlyB) };
}

function tTest(difference: number, error: number, degreesOfFreedom: number): TTest {
  const statistic = difference / error;
  const reach = error * criticalT(0.05, degreesOfFreedom);
  return {
    difference,
    interval: [difference - reach, difference + reach],
    statistic,
    degreesOfFreedom,
    pValue: twoSidedT(statistic, degreesOfFreedom),
  };
}
