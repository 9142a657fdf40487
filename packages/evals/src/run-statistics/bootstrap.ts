import { PythonRandom } from '../python-random.ts';
import { isVaried, mean } from '../statistics.ts';
import { normalCdf, normalQuantile } from './normal.ts';

/** Up to this many values every resample is counted: 92,378 of ten. */
const MAX_EXACT_VALUES = 10;

const NUM_DRAWS = 20_000;

/** A mean of a resample, and how often it comes up. */
interface Resampled {
  readonly mean: number;
  readonly weight: number;
}

/**
 * Bootstrap interval of a mean, bias-corrected and accelerated (BCa; Efron 1987, "Better bootstrap confidence
 * intervals").
 *
 * Of up to ten values all resamples are counted, so that the interval depends on nothing but the values. They are
 * too narrow: the interval of 95 % holds the mean in 83 % of samples of five normal values, in 89 % of eight (6,000
 * simulations each). For values near normal the paired t-test's is exact.
 *
 * @param values such as one difference a seed
 * @param options `confidence` between 0 and 1, 0.95 by default; `seed` of the draws where there are more values
 * @returns undefined for fewer than three values, or values without variance
 */
export function bootstrapInterval(
  values: ArrayLike<number>,
  { confidence = 0.95, seed = 0 } = {},
): [low: number, high: number] | undefined {
  if (!isVaried(values)) return undefined;
  const center = mean(values);
  const deviations = Array.from(values, (value) => value - center);
  const resamples =
    deviations.length <= MAX_EXACT_VALUES ? allResamples(deviations) : drawResamples(deviations, seed);
  resamples.sort((a, b) => a.mean - b.mean);
  const bias = normalQuantile(shareBelowZero(resamples, Math.max(...deviations.map(Math.abs))));
  // A jackknife mean without value i is off by deviation i over 1 − n, so skewness is all that acceleration needs.
  const power = (exponent: number) => deviations.reduce((sum, value) => sum + value ** exponent, 0);
  const acceleration = power(3) / (6 * power(2) ** 1.5);
  const end = (probability: number) => {
    const z = bias + normalQuantile(probability);
    return center + quantile(resamples, normalCdf(bias + z / (1 - acceleration * z)));
  };
  return [end((1 - confidence) / 2), end((1 + confidence) / 2)];
}

/** Every choice of n of the n values with repetition, once for each multiset. */
function allResamples(values: readonly number[]): Resampled[] {
  const n = values.length;
  const resamples: Resampled[] = [];
  const factorial = (k: number): number => (k < 2 ? 1 : k * factorial(k - 1));
  const choose = (index: number, left: number, sum: number, ways: number) => {
    if (index === n - 1) {
      resamples.push({ mean: (sum + left * values[index]) / n, weight: ways / factorial(left) / n ** n });
      return;
    }
    for (let count = 0; count <= left; count++) {
      choose(index + 1, left - count, sum + count * values[index], ways / factorial(count));
    }
  };
  choose(0, n, 0, factorial(n));
  return resamples;
}

function drawResamples(values: readonly number[], seed: number): Resampled[] {
  const random = new PythonRandom(seed);
  const draw = () => values.reduce((sum) => sum + random.choice(values), 0) / values.length;
  return Array.from({ length: NUM_DRAWS }, () => ({ mean: draw(), weight: 1 / NUM_DRAWS }));
}

/** Share of resamples below the mean of the values; those that equal it but for rounding count half. */
function shareBelowZero(resamples: readonly Resampled[], scale: number): number {
  return resamples.reduce((share, { mean, weight }) => {
    if (Math.abs(mean) <= 1e-12 * scale) return share + weight / 2;
    return mean < 0 ? share + weight : share;
  }, 0);
}

/** The first mean up to which the resamples, in order, have that share. */
function quantile(resamples: readonly Resampled[], probability: number): number {
  let share = 0;
  for (const { mean, weight } of resamples) {
    share += weight;
    if (share >= probability - 1e-12) return mean;
  }
  return resamples.at(-1)!.mean;
}
