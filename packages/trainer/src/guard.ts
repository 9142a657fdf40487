import { NonFiniteError } from './errors.ts';

/** Options for anomalous steps. */
export interface GuardOptions {
  /**
   * Consecutive steps with a non-finite loss or gradient to skip before NonFiniteError is thrown.
   *
   * The default 0 stops at the first: in float32 it is nearly always a fault, and the weights are still valid.
   */
  maxNonFiniteSteps?: number;
  /**
   * `warn` (default) reports a spike: of the loss, or of the gradient norm for 3 steps in a row. `skip` leaves out the
   * update of every step whose loss or gradient norm is a spike, as OLMo-core does. `ignore` does neither.
   */
  onSpike?: 'warn' | 'skip' | 'ignore';
}

/** The guard's decision on a step. */
export interface Verdict {
  anomaly?: 'non-finite' | 'spike';
  skip: boolean;
  /** Of a spike, in words. */
  reason?: string;
}

/** State of the guard in a checkpoint. */
export interface GuardState {
  losses: number[];
  gradNorms: number[];
  nonFiniteInARow: number;
  /** Steps in a row up to now whose gradient norm was a spike. */
  highNormsInARow: number;
}

/** Steps that the running mean and deviation look back over, and how many deviations above it make a spike. */
const WINDOW = 128;
const SIGMA = 6;
/** A gradient norm is high now and then in healthy runs; clipping bounds what one such step does. */
const HIGH_NORMS = 3;

/**
 * Checks the loss and gradient norm of each step before its update.
 *
 * A spike is a value more than 6 standard deviations above the mean of the last 128 finite steps, once half of them are
 * there: the rule of OLMo-core's and Levanter's skip-step optimizers.
 */
export class Guard {
  readonly #options: Required<GuardOptions>;
  #state: GuardState = { losses: [], gradNorms: [], nonFiniteInARow: 0, highNormsInARow: 0 };

  constructor(options: GuardOptions = {}) {
    this.#options = { maxNonFiniteSteps: options.maxNonFiniteSteps ?? 0, onSpike: options.onSpike ?? 'warn' };
  }

  /** Whether it never skips an update: it only reports spikes and stops at the first fault. */
  get stopsAtFirstFault(): boolean {
    const { maxNonFiniteSteps, onSpike } = this.#options;
    return maxNonFiniteSteps === 0 && onSpike !== 'skip';
  }

  /** Checks a 1-based step. @throws NonFiniteError when too many consecutive steps were not finite */
  judge(step: number, loss: number, gradNorm: number): Verdict {
    const state = this.#state;
    if (!Number.isFinite(loss) || !Number.isFinite(gradNorm)) {
      state.nonFiniteInARow += 1;
      if (state.nonFiniteInARow > this.#options.maxNonFiniteSteps) {
        throw new NonFiniteError(
          `train: step ${step} has loss ${loss} and gradient norm ${gradNorm}, expected finite numbers; the update ` +
            'was not applied: check the data and the weights, or lower the learning rate',
        );
      }
      return { anomaly: 'non-finite', skip: true };
    }
    state.nonFiniteInARow = 0;
    const usualLoss = usual(state.losses);
    // High norms that may become a spike must not raise what is usual before they are judged.
    const numUnjudged = Math.min(state.highNormsInARow, HIGH_NORMS - 1);
    const usualNorm = usual(state.gradNorms.slice(0, state.gradNorms.length - numUnjudged));
    const isHighLoss = loss > usualLoss.limit;
    state.highNormsInARow = gradNorm > usualNorm.limit ? state.highNormsInARow + 1 : 0;
    // Skipped values enter too: a lasting change of level is let through after a few steps instead of never.
    push(state.losses, loss);
    push(state.gradNorms, gradNorm);
    const { onSpike } = this.#options;
    const numNorms = onSpike === 'skip' ? 1 : HIGH_NORMS;
    if (onSpike === 'ignore' || !(isHighLoss || state.highNormsInARow >= numNorms)) return { skip: false };
    const [what, value, mean] = isHighLoss
      ? ['loss', loss, usualLoss.mean]
      : ['gradient norm', gradNorm, usualNorm.mean];
    return {
      anomaly: 'spike',
      skip: onSpike === 'skip',
      reason: `${what} ${value.toPrecision(4)}, usual ${mean.toPrecision(4)}`,
    };
  }

  state(): GuardState {
    return structuredClone(this.#state);
  }

  restore(state: GuardState): void {
    // Checkpoints of earlier versions do not count high norms.
    this.#state = structuredClone({ ...this.#state, ...state });
  }
}

/** The mean of a window, and the value above which a step is a spike; none before half of the window is there. */
function usual(window: readonly number[]): { mean: number; limit: number } {
  const mean = window.reduce((sum, x) => sum + x, 0) / window.length;
  if (window.length < WINDOW / 2) return { mean, limit: Number.POSITIVE_INFINITY };
  const variance = window.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (window.length - 1);
  return { mean, limit: mean + SIGMA * Math.sqrt(variance) };
}

function push(window: number[], value: number): void {
  window.push(value);
  if (window.length > WINDOW) window.shift();
}
