import { isVaried, mean, variance } from '../statistics.ts';
import { logGamma } from '../student-t.ts';

/**
 * Mean of paired differences in units of their standard deviation, without the bias of few pairs: Hedges' g of paired
 * samples (Hedges 1981, with the exact correction).
 *
 * @param differences one value a pair
 * @returns undefined for fewer than three pairs, or differences without variance
 */
export function standardizedDifference(differences: ArrayLike<number>): number | undefined {
  if (!isVaried(differences)) return undefined;
  const deviation = Math.sqrt(variance(differences));
  const degrees = differences.length - 1;
  const correction = Math.exp(logGamma(degrees / 2) - logGamma((degrees - 1) / 2));
  return ((mean(differences) / deviation) * correction) / Math.sqrt(degrees / 2);
}
