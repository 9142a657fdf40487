/** Sample statistics. */
import { EvalsError } from './error.ts';

/**
 * Arithmetic mean.
 *
 * @throws EvalsError for an empty sample
 */
export function mean(values: ArrayLike<number>): number {
  requireSize('mean', values, 1);
  const about = sumOfDifferences(values, 0) / values.length;
  // A plain sum loses digits if values are far from 0 and close to each other.
  return about + sumOfDifferences(values, about) / values.length;
}

/**
 * Unbiased variance: the squared deviations from the mean over n − 1.
 *
 * @throws EvalsError for fewer than two values
 */
export function variance(values: ArrayLike<number>): number {
  requireSize('variance', values, 2);
  const center = mean(values);
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += (values[i] - center) ** 2;
  return squares / (values.length - 1);
}

/**
 * Standard error of the mean: the root of variance over n.
 *
 * @throws EvalsError for fewer than two values
 */
export function standardError(values: ArrayLike<number>): number {
  return Math.sqrt(variance(values) / values.length);
}

/** Deviations below this share of the numbers are what rounding leaves of equal ones. */
const ROUNDING = 1e-11;

/**
 * Whether there are at least three values whose deviation is more than rounding: without it a test or interval would
 * claim certainty, and two values are too often nearly equal by chance.
 *
 * @param origins the samples that the values were computed from, whose size decides what is rounding
 * @internal
 */
export function isVaried(
  values: ArrayLike<number>,
  origins: readonly ArrayLike<number>[] = [values],
): boolean {
  if (values.length < 3) return false;
  let size = 0;
  for (const sample of origins) {
    for (let i = 0; i < sample.length; i++) size = Math.max(size, Math.abs(sample[i]));
  }
  return Math.sqrt(variance(values)) > ROUNDING * size;
}

function sumOfDifferences(values: ArrayLike<number>, from: number): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] - from;
  return sum;
}

/** @internal */
export function requireSize(what: string, values: ArrayLike<number>, min: number): void {
  if (values.length < min) {
    throw new EvalsError(`${what}: got ${values.length} values, expected at least ${min}`);
  }
}
