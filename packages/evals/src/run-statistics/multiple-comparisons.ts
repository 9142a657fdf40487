import { EvalsError } from '../error.ts';

/**
 * P-values of several tests, adjusted so that the probability of any false rejection stays below the level (Holm 1979).
 *
 * @returns in the order given
 * @throws EvalsError for a value outside 0 to 1
 */
export function adjustHolm(pValues: readonly number[]): number[] {
  for (const p of pValues) {
    if (!(p >= 0 && p <= 1)) throw new EvalsError(`adjustHolm: got ${p}, expected a probability from 0 to 1`);
  }
  const order = pValues.map((_, index) => index).sort((a, b) => pValues[a] - pValues[b]);
  const adjusted = new Array<number>(pValues.length);
  let largest = 0;
  order.forEach((index, rank) => {
    largest = Math.max(largest, Math.min(1, pValues[index] * (pValues.length - rank)));
    adjusted[index] = largest;
  });
  return adjusted;
}
