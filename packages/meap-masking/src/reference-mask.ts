import { requireInteger, requireRatio } from './error.ts';
import { MersenneTwister } from './mersenne-twister.ts';

const BASE_SEED = 50;
const NUM_PATTERNS = 51;

/** Maximum row length in tokens: positions are 32-bit integers. */
export const MAX_LENGTH = 2 ** 31 - 1;

/** Options of {@link referenceMask}. */
export interface ReferenceMaskOptions {
  /** Tokens in an input row (T), at least 2. */
  length: number;
  /** Share of the tokens to mask (P), at least 0 and less than 1. */
  ratio: number;
  /** Optimizer step, counted from 0. */
  step: number;
}

/**
 * The positions that the MEAP authors' code masks at an optimizer step, in sampled order.
 *
 * Bit-equal to CPython's `random.seed(50 + step % 51)` and then
 * `random.sample(range(0, T - 1), max(1, floor(T * P)))`. The code uses one set for all rows, micro-batches and ranks of
 * a step, has 51 sets in a run, never masks the last position, and masks one position even at ratio 0 (a masker of
 * `createMasker` masks none there).
 *
 * @returns Int32Array [max(1, floor(T · P))] of distinct positions from 0 to T − 2.
 * @throws MaskingError if an option is out of range
 */
export function referenceMask({ length, ratio, step }: ReferenceMaskOptions): Int32Array {
  requireInteger('referenceMask', 'length', length, 2, MAX_LENGTH);
  requireRatio('referenceMask', ratio);
  requireInteger('referenceMask', 'step', step, 0, Number.MAX_SAFE_INTEGER);
  const population = length - 1;
  const count = Math.max(1, Math.floor(length * ratio));
  return new MersenneTwister([BASE_SEED + (step % NUM_PATTERNS)]).sampleRange(population, count);
}
