/** Returns the learning rate of a 0-based optimizer step; a pure function. */
export type Schedule = (step: number) => number;

/** Options of {@link warmupConstant}; counts are optimizer steps. */
export interface WarmupOptions {
  /** Learning rate at the end of the warm-up. */
  peak: number;
  /** Steps of linear warm-up; 0 for none. */
  warmupSteps: number;
}

/** Options of {@link warmupCosine} and {@link warmupLinear}; counts are optimizer steps. */
export interface WarmupDecayOptions extends WarmupOptions {
  /** Learning rate from `totalSteps`. */
  minimum: number;
  /** Step at which the decay reaches `minimum`: the first one after the run. */
  totalSteps: number;
}

/** Shapes of the decay of {@link warmupStableDecay}, with the names of transformers. */
export const DECAY_TYPES = ['1-sqrt', 'linear', 'cosine'] as const;

/** Options of {@link warmupStableDecay}. */
export interface WarmupStableDecayOptions extends WarmupDecayOptions {
  /** Steps of the decay, the last of the run. */
  decaySteps: number;
  /** Shape of the decay; `1-sqrt` by default. */
  decayType?: (typeof DECAY_TYPES)[number];
}

/** Options of {@link referenceCosine}. */
export interface ReferenceCosineOptions extends WarmupDecayOptions {
  /** Micro-batches of a step. */
  microBatches: number;
}

/**
 * Linear warm-up, then a half cosine from `peak` to `minimum`.
 *
 * With W warm-up steps of T, step k < W has the rate peak·(k + 1)/(W + 1). From k = W, the rate is that of transformers'
 * `get_cosine_schedule_with_warmup`: minimum + ½(1 + cos(π·(k − W)/(T − W)))·(peak − minimum). The first step never has
 * rate 0 (transformers warms up by k/W), and step W has the peak.
 */
export function warmupCosine(options: WarmupDecayOptions): Schedule {
  return warmupDecay('warmupCosine', options, cosine);
}

/** The warm-up of {@link warmupCosine}, then a linear decay from `peak` to `minimum`: peak − (peak − minimum)·(k − W)/(T − W). */
export function warmupLinear(options: WarmupDecayOptions): Schedule {
  return warmupDecay('warmupLinear', options, linear);
}

/**
 * The warm-up of {@link warmupCosine}, a constant `peak`, and in the last D of T steps a decay: at a share
 * x = (k − (T − D))/D of it the rate is minimum + f(x)·(peak − minimum), where f(x) is 1 − √x, 1 − x or ½(1 + cos(πx)).
 *
 * The schedule is MiniCPM's (Hu et al. 2024, arXiv 2404.06395), the default shape that of Hägele et al. 2024 (arXiv
 * 2405.18392); the rates are those of transformers' `get_wsd_schedule` with `decay_type` `1-sqrt`, `linear` and `cosine`. Up to
 * the decay the rate does not depend on T, so a checkpoint from before it can be trained for longer.
 */
export function warmupStableDecay(options: WarmupStableDecayOptions): Schedule {
  const { peak, minimum, warmupSteps, totalSteps, decaySteps, decayType = '1-sqrt' } = options;
  requireWarmup('warmupStableDecay', options);
  if (!(decaySteps >= 0 && warmupSteps + decaySteps <= totalSteps)) {
    const expected = `0 to ${totalSteps - warmupSteps}, the steps after the warm-up`;
    throw new RangeError(`warmupStableDecay: decaySteps ${decaySteps}, expected ${expected}`);
  }
  const stable = warmupConstant(options);
  const start = totalSteps - decaySteps;
  const left = DECAYS[decayType];
  return (step) => {
    if (step >= totalSteps) return minimum;
    if (step < start) return stable(step);
    return minimum + left((step - start) / decaySteps) * (peak - minimum);
  };
}

/** The warm-up of {@link warmupCosine}, then a constant `peak`. */
export function warmupConstant({ peak, warmupSteps }: WarmupOptions): Schedule {
  if (!(warmupSteps >= 0))
    throw new RangeError(`warmupConstant: warmupSteps ${warmupSteps}, expected 0 or more`);
  return (step) => (step < warmupSteps ? (peak * (step + 1)) / (warmupSteps + 1) : peak);
}

/**
 * The schedule of the authors' code of MEAP, which counts micro-iterations; only for reproducing that code.
 *
 * With G micro-batches per step, step k has the rate of its last micro-iteration, it = (k+1)·G − 1, of a warm-up of W·G and
 * a total of T·G: peak·it/(W·G) during the warm-up, then minimum + ½(1 + cos(π·(it − W·G)/((T − W)·G)))·(peak − minimum),
 * then minimum. The micro-batch size shifts the schedule by up to a step, and with G = 1 the first step has rate 0.
 */
export function referenceCosine(options: ReferenceCosineOptions): Schedule {
  const { peak, minimum, warmupSteps, totalSteps, microBatches } = options;
  requireWarmup('referenceCosine', options);
  const warmup = warmupSteps * microBatches;
  const total = totalSteps * microBatches;
  return (step) => {
    const iteration = (step + 1) * microBatches - 1;
    if (iteration < warmup) return (peak * iteration) / warmup;
    if (iteration >= total) return minimum;
    return minimum + cosine((iteration - warmup) / (total - warmup)) * (peak - minimum);
  };
}

function warmupDecay(
  name: string,
  options: WarmupDecayOptions,
  left: (progress: number) => number,
): Schedule {
  const { peak, minimum, warmupSteps, totalSteps } = options;
  requireWarmup(name, options);
  return (step) => {
    if (step >= totalSteps) return minimum;
    if (step < warmupSteps) return (peak * (step + 1)) / (warmupSteps + 1);
    return minimum + left((step - warmupSteps) / (totalSteps - warmupSteps)) * (peak - minimum);
  };
}

/** Half a cosine period, from 1 at `progress` 0 to 0 at 1. */
function cosine(progress: number): number {
  return 0.5 * (1 + Math.cos(Math.PI * progress));
}

function linear(progress: number): number {
  return 1 - progress;
}

const DECAYS = { '1-sqrt': (progress: number) => 1 - Math.sqrt(progress), linear, cosine };

function requireWarmup(name: string, { warmupSteps, totalSteps }: WarmupDecayOptions): void {
  if (warmupSteps >= 0 && warmupSteps <= totalSteps) return;
  throw new RangeError(`${name}: warmupSteps ${warmupSteps}, expected 0 to totalSteps ${totalSteps}`);
}
