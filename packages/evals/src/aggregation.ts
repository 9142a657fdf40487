/**
 * Aggregation of the numbers of items, as in lm-evaluation-harness 0.4.13 (`lm_eval/api/metrics.py`), with standard
 * errors over samples of items.
 *
 * The harness has standard errors of `mean` (the same formula) and of `perplexity`, by 100,000 bootstrap draws. All
 * others here are first-order (delta method): the limit of that bootstrap for many items, without random numbers, also
 * for weighted totals, where the harness prints N/A.
 */
import type { Aggregation, Measured, Metric } from './task.ts';

/** Σ value / n. Standard error: √(Σ (value − mean)² / (n − 1)) / √n. */
export const mean: Aggregation = { name: 'mean', total: meanOf, standardError: meanError };

/** Metrics whose totals are means. */
export function means(names: readonly string[], higherIsBetter = true): Metric[] {
  return names.map((name) => ({ name, higherIsBetter, aggregation: mean }));
}

/** exp(−mean) of log-likelihoods in nats, one per item: perplexity if each item is one target, as in LAMBADA. */
export const perplexity: Aggregation = {
  name: 'perplexity',
  total: (items) => Math.exp(-meanOf(items)),
  standardError: (items) => times(Math.exp(-meanOf(items)), meanError(items)),
};

/** exp(−Σ value / Σ weight) of log-likelihoods in nats; weights count words, bytes or tokens. */
export const weightedPerplexity: Aggregation = {
  name: 'weighted_perplexity',
  total: (items) => Math.exp(-ratioOf(items)),
  standardError: (items) => times(Math.exp(-ratioOf(items)), ratioError(items)),
};

/** −Σ value / Σ weight / ln 2 of log-likelihoods in nats; weights count bytes. */
export const bitsPerByte: Aggregation = {
  name: 'bits_per_byte',
  total: (items) => -ratioOf(items) / Math.LN2,
  standardError: (items) => times(1 / Math.LN2, ratioError(items)),
};

/** F1 of two classes: `value` is the right one, 0 or 1, `weight` the chosen one; 0 without any 1. No standard error. */
export const f1: Aggregation = {
  name: 'f1',
  total(items) {
    const count = (value: number, weight: number) =>
      items.filter((item) => item.value === value && item.weight === weight).length;
    const hits = 2 * count(1, 1);
    return hits === 0 ? 0 : hits / (hits + count(0, 1) + count(1, 0));
  },
  standardError: () => undefined,
};

/** Matthews' correlation of right (`value`) and chosen (`weight`) classes; 0 where one side has a single class. */
export const matthewsCorrelation: Aggregation = {
  name: 'matthews_corrcoef',
  total(items) {
    const counts = (of: (item: Measured) => number) => {
      const found = new Map<number, number>();
      for (const item of items) found.set(of(item), (found.get(of(item)) ?? 0) + 1);
      return found;
    };
    const [right, chosen] = [counts(({ value }) => value), counts(({ weight = 0 }) => weight)];
    const product = (a: ReadonlyMap<number, number>, b: ReadonlyMap<number, number>) =>
      [...a].reduce((sum, [key, count]) => sum + count * (b.get(key) ?? 0), 0);
    const square = items.length ** 2;
    const numEqual = items.filter(({ value, weight }) => value === weight).length;
    const spread = Math.sqrt((square - product(right, right)) * (square - product(chosen, chosen)));
    return spread === 0 ? 0 : (numEqual * items.length - product(right, chosen)) / spread;
  },
  standardError: () => undefined,
};

function meanOf(items: readonly Measured[]): number {
  let sum = 0;
  for (const { value } of items) sum += value;
  return sum / items.length;
}

function meanError(items: readonly Measured[]): number | undefined {
  if (items.length < 2) return undefined;
  const average = meanOf(items);
  let squares = 0;
  for (const { value } of items) squares += (value - average) ** 2;
  return Math.sqrt(squares / (items.length - 1)) / Math.sqrt(items.length);
}

function ratioOf(items: readonly Measured[]): number {
  return meanOf(items) / meanOf(items.map(weightOf));
}

/** Standard error of a ratio of sums R = Σ value / Σ weight: that of the mean of (value − R·weight) / mean weight. */
function ratioError(items: readonly Measured[]): number | undefined {
  const ratio = ratioOf(items);
  const meanWeight = meanOf(items.map(weightOf));
  return meanError(items.map(({ value, weight = 1 }) => ({ value: (value - ratio * weight) / meanWeight })));
}

const weightOf = ({ weight = 1 }: Measured): Measured => ({ value: weight });

const times = (factor: number, error: number | undefined) =>
  error === undefined ? undefined : factor * error;
