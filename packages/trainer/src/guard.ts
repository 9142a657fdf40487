import { NonFiniteError } from './errors.ts';

/** What to do about steps that look wrong. */
export interface GuardOptions {
  /**
   * Steps in a row with a non-finite loss or gradient that are skipped before NonFiniteError is thrown.
   *
   * 0, the default, stops at the first: in float32 it nearly always is a fault, and weights are still clean.
   */
  maxNonFiniteSteps?: number;
  /** `log` (default) names a spike in the metrics; `skip` also leaves out its update. */
  spikes?: 'log' | 'skip';
}

/** Whether a step is anomalous, and whether its update must be left out. */
export interface Verdict {
  anomaly?: 'non-finite' | 'spike';
  skip: boolean;
}

/** The guard's memory, part of a checkpoint. */
export interface GuardState {
  losses: number[];
  gradNorms: number[];
  nonFiniteInARow: number;
}

/** Steps the running mean and deviation look back over, and how many deviations above it make a spike. */
const WINDOW = 128;
const SIGMA = 6;

/**
 * Judges each step by its loss and gradient norm before the update is applied.
 *
 * A spike is a loss or a norm more than 6 standard deviations above the mean of the last 128 finite steps,
 * once half of them are there: the rule of OLMo-core's and Levanter's skip-step optimizers.
 */
export class Guard {
  readonly #options: Required<GuardOptions>;
  #state: GuardState = { losses: [], gradNorms: [], nonFiniteInARow: 0 };

  constructor(options: GuardOptions = {}) {
    this.#options = { maxNonFiniteSteps: options.maxNonFiniteSteps ?? 0, spikes: options.spikes ?? 'log' };
  }

  /** Whether all it does is to name steps and to stop at the first fault, never to leave out an update and go on. */
  get stopsAtFirstFault(): boolean {
    const { maxNonFiniteSteps, spikes } = this.#options;
    return maxNonFiniteSteps === 0 && spikes === 'log';
  }

  /** Whether the 1-based step is anomalous, and whether its update must be left out. */
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
    const spike = isSpike(state.losses, loss) || isSpike(state.gradNorms, gradNorm);
    const skip = spike && this.#options.spikes === 'skip';
    // Skipped values enter too: a lasting change of level is let through after a few steps instead of never.
    push(state.losses, loss);
    push(state.gradNorms, gradNorm);
    return spike ? { anomaly: 'spike', skip } : { skip };
  }

  state(): GuardState {
    return structuredClone(this.#state);
  }

  restore(state: GuardState): void {
    this.#state = structuredClone(state);
  }
}

function isSpike(window: readonly number[], value: number): boolean {
  if (window.length < WINDOW / 2) return false;
  const mean = window.reduce((sum, x) => sum + x, 0) / window.length;
  const variance = window.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (window.length - 1);
  return value > mean + SIGMA * Math.sqrt(variance);
}

function push(window: number[], value: number): void {
  window.push(value);
  if (window.length > WINDOW) window.shift();
}
