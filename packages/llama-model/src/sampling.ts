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
  /** Only tokens with at least this share of the most likely token's probability (Nguyen et al. 2024). All by default. */
  minP?: number;
  /** Added to the logits of tokens, by id. */
  logitBias?: Readonly<Record<number, number>>;
  /**
   * Divides the positive logits of all tokens of prompt and text, and multiplies the negative ones (Keskar et al. 2019). 1 by
   * default.
   */
  repetitionPenalty?: number;
  /** Subtracted from the logit of a token as often as the text has it. 0 by default. */
  frequencyPenalty?: number;
  /** Subtracted from the logits of all tokens that the text has. 0 by default. */
  presencePenalty?: number;
}

/** The tokens so far of a text, for penalties. */
export interface TokenCounts {
  readonly prompt: ReadonlySet<number>;
  /** How often the text has a token, without the prompt. */
  readonly generated: ReadonlyMap<number, number>;
}

/** @throws GenerateOptionError for a value out of range */
export function requireSamplingOptions(options: SamplingOptions): void {
  const { temperature = 0, topK, topP, minP, logitBias = {}, repetitionPenalty } = options;
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
  if (minP !== undefined && !(minP >= 0 && minP <= 1)) {
    throw new GenerateOptionError(`minP: got ${minP}, expected a number from 0 to 1`);
  }
  if (repetitionPenalty !== undefined && !(repetitionPenalty > 0 && repetitionPenalty < Infinity)) {
    throw new GenerateOptionError(`repetitionPenalty: got ${repetitionPenalty}, expected a positive number`);
  }
  const { frequencyPenalty = 0, presencePenalty = 0 } = options;
  const biases = Object.entries(logitBias).map(([id, bias]) => [`logitBias of ${id}`, bias] as const);
  for (const [name, value] of [
    ['frequencyPenalty', frequencyPenalty] as const,
    ['presencePenalty', presencePenalty] as const,
    ...biases,
  ]) {
    if (!Number.isFinite(value))
      throw new GenerateOptionError(`${name}: got ${value}, expected a finite number`);
  }
}

/** Returns the logits with bias and penalties, in the order of vLLM: bias, repetition, frequency, presence. */
export function penalizedLogits(
  logits: Float32Array,
  { logitBias = {}, repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 }: SamplingOptions,
  { prompt, generated }: TokenCounts,
): Float32Array {
  const biases = Object.entries(logitBias);
  const hasPenalty = repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
  if (biases.length === 0 && !hasPenalty) return logits;
  const changed = logits.slice();
  for (const [id, bias] of biases) changed[Number(id)] += bias;
  if (repetitionPenalty !== 1) {
    const penalty = Math.fround(repetitionPenalty);
    for (const id of new Set([...prompt, ...generated.keys()])) {
      changed[id] = changed[id] > 0 ? changed[id] / penalty : changed[id] * penalty;
    }
  }
  for (const [id, count] of generated) changed[id] -= frequencyPenalty * count + presencePenalty;
  return changed;
}

/**
 * Returns the logits of allowed tokens, and negative infinity for the others.
 *
 * @param mask at least one token: bit `id & 31` of word `id >> 5`
 */
export function maskedLogits(logits: Float32Array, mask: Uint32Array): Float32Array {
  return logits.map((logit, id) => {
    if (!((mask[id >> 5] >>> (id & 31)) & 1)) return Number.NEGATIVE_INFINITY;
    // Penalties can make a logit infinite, but an allowed token stays likelier than the others.
    if (logit > LOWEST) return logit;
    return LOWEST;
  });
}

/** The lowest finite float32. */
const LOWEST = -(2 - 2 ** -23) * 2 ** 127;

/**
 * Samples a token: applies temperature, then top-k, top-p and min-p, as in transformers.
 *
 * Keeps tokens that are as likely as the last one kept, so that the result does not depend on the order of equals.
 *
 * @param logits one value for each token of the vocabulary
 * @param draw uniform in [0, 1)
 * @returns the token id; greedily the lowest among equals
 */
export function sampleToken(logits: ArrayLike<number>, options: SamplingOptions, draw: number): number {
  const { temperature = 0, topK, topP = 1, minP = 0 } = options;
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id] > logits[best]) best = id;
  if (temperature === 0) return best;

  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - logits[best]) / temperature));
  if (topK !== undefined && topK < weights.length) {
    const kthLargest = weights.slice().sort()[weights.length - topK];
    dropBelow(weights, kthLargest);
  }
  if (topP < 1) dropBelow(weights, nucleusThreshold(weights, topP));
  // The most likely token has a weight of 1.
  if (minP > 0) dropBelow(weights, minP);

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
