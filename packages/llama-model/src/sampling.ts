import { GenerateOptionError } from './errors.ts';

/** Options for sampling a token from logits. */
export interface SamplingOptions {
  /** Divides the logits; 0, the default, selects the most likely token. */
  temperature?: number;
  /** Only the `topK` most likely tokens; all by default. */
  topK?: number;
  /**
   * Only the most likely tokens that together reach this probability (Holtzman et al. 2020), at least one: 0 is greedy. All
   * by default.
   */
  topP?: number;
}

/** @throws GenerateOptionError for a value out of range */
export function requireSamplingOptions({ temperature = 0, topK, topP }: SamplingOptions): void {
  if (!Number.isFinite(temperature) || temperature < 0) {
    throw new GenerateOptionError(
      `temperature: got ${temperature}, expected 0 (greedy) or a positive number`,
    );
  }
  if (topK !== undefined && !(Number.isInteger(topK) && topK > 0)) {
    throw new GenerateOptionError(`topK: got ${topK}, expected a positive integer`);
  }
  if (topP !== undefined && !(topP >= 0 && topP <= 1)) {
    throw new GenerateOptionError(`topP: got ${topP}, expected a number from 0 to 1`);
  }
}

/**
 * Samples a token: applies temperature, then top-k, then top-p, as in transformers.
 *
 * Keeps tokens that are as likely as the last one kept, so that the result does not depend on the order of equals.
 *
 * @param logits one value for each token of the vocabulary
 * @param draw uniform in [0, 1)
 * @returns the token id; greedily the lowest among equals
 */
export function sampleToken(logits: ArrayLike<number>, options: SamplingOptions, draw: number): number {
  const { temperature = 0, topK, topP = 1 } = options;
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id] > logits[best]) best = id;
  if (temperature === 0) return best;

  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - logits[best]) / temperature));
  if (topK !== undefined && topK < weights.length) {
    const kthLargest = weights.slice().sort()[weights.length - topK];
    dropBelow(weights, kthLargest);
  }
  if (topP < 1) dropBelow(weights, nucleusThreshold(weights, topP));

  let remaining = draw * weights.reduce((a, b) => a + b, 0);
  for (let id = 0; id < weights.length; id++) {
    remaining -= weights[id];
    if (remaining < 0) return id;
  }
  return best; // by rounding no weight remains
}

function dropBelow(weights: Float64Array, threshold: number): void {
  for (let id = 0; id < weights.length; id++) if (weights[id] < threshold) weights[id] = 0;
}

/** Weight of the least likely token of the smallest set, of at least one, that reaches `topP`. */
function nucleusThreshold(weights: Float64Array, topP: number): number {
  const ascending = weights.slice().sort();
  const target = topP * ascending.reduce((a, b) => a + b, 0);
  let index = ascending.length - 1;
  for (let sum = ascending[index]; index > 0 && sum < target; ) sum += ascending[--index];
  return ascending[index];
}
