/** Learning rate of the 0-based optimizer step `step`; a pure function. */
export type Schedule = (step: number) => number;

/** Options of {@link warmupCosine}; counts are optimizer steps. */
export interface WarmupCosineOptions {
  /** Learning rate at the end of the warm-up. */
  peak: number;
  /** Learning rate from `totalSteps` on. */
  minimum: number;
  /** Steps of linear warm-up from zero; the paper uses a tenth of `totalSteps`. */
  warmupSteps: number;
  /** Step at which the cosine reaches `minimum`. */
  totalSteps: number;
  /** Micro-batches a step; the code of the paper counts these, see {@link warmupCosine}. */
  microBatches?: number;
}

/**
 * Linear warm-up, then a half cosine, indexed by micro-iteration as in the code of the MEAP paper.
 *
 * With G micro-batches a step, step k reads the curve at its last micro-iteration, it = (k+1)·G − 1, of a warm-up
 * of W·G and a total of M·G: rate = peak·it/(W·G) before the warm-up ends, then
 * minimum + ½(1 + cos(π·(it − W·G)/((M − W)·G)))·(peak − minimum), then minimum. So with G = 1 the very first
 * step has rate 0, and G changes the curve by less than one step.
 */
export function warmupCosine(options: WarmupCosineOptions): Schedule {
  const { peak, minimum, warmupSteps, totalSteps, microBatches = 1 } = options;
  if (!(warmupSteps >= 0 && warmupSteps <= totalSteps)) {
    throw new RangeError(`warmupCosine: warmupSteps ${warmupSteps}, expected 0 to totalSteps ${totalSteps}`);
  }
  const warmup = warmupSteps * microBatches;
  const total = totalSteps * microBatches;
  return (step) => {
    const iteration = (step + 1) * microBatches - 1;
    if (iteration < warmup) return (peak * iteration) / warmup;
    if (iteration >= total) return minimum;
    const progress = (iteration - warmup) / (total - warmup);
    return minimum + 0.5 * (1 + Math.cos(Math.PI * progress)) * (peak - minimum);
  };
}

/** The same learning rate at every step. */
export function constantRate(rate: number): Schedule {
  return () => rate;
}
