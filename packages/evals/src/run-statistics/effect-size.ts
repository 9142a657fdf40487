import { EvalsError } from '../error.ts';
import { mean, requireSize, variance } from '../statistics.ts';
import { logGamma } from '../student-t.ts';

/**
 * Mean of paired differences in units of their standard deviation, without the bias of few pairs: Hedges' g of paired
 * samples (Hedges 1981, with the exact correction).
 *
 * @param differences one value a pair
 * @throws EvalsError for fewer than three pairs, or differences without any variance
 */
export function standardizedDifference(differences: ArrayLike<number>): number {
  requireSize('standardizedDifference', differences, 3);
  const deviation = Math.sqrt(variance(differences));
  if (deviation === 0) {
    throw new EvalsError('standardizedDifference: all differences are equal, expected some variance');
  }
  const degrees = differences.length - 1;
  const correction = Math.exp(logGamma(degrees / 2) - logGamma((degrees - 1) / 2));
  return ((mean(differences) / deviation) * correction) / Math.sqrt(degrees / 2);
}
