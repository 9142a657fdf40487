/** What the scaling of a loss remembers; part of a checkpoint. */
export interface LossScaleState {
  /** The factor on the loss, a power of two. */
  scale: number;
  /** Steps without overflow since the factor last changed. */
  steps: number;
}

/**
 * PyTorch starts at 2¹⁶ on a mean over targets; this is on their sum, whose gradients do not shrink with the number of
 * targets, so it stands for 2¹⁰ times that number.
 */
const INITIAL = 2 ** 10;

/** PyTorch's: twice as much after so many steps without overflow, half as much after each overflow. */
const GROWTH_INTERVAL = 2000;
const GROWTH = 2;
const BACKOFF = 0.5;

/** Below this no loss is too large for half precision: the gradients are not finite by themselves. */
const SMALLEST = 2 ** -24;

/**
 * The factor on the loss that keeps gradients inside half precision (Micikevicius et al., arXiv 1710.03740), adjusted
 * as PyTorch's GradScaler does: a step whose gradients overflow is left out and halves the factor; 2000 in a row
 * without overflow double it. Powers of two alone, so that scaling changes no digit.
 */
export class LossScale {
  #state: LossScaleState = { scale: INITIAL, steps: 0 };

  /** The factor for the next step's loss. */
  get value(): number {
    return this.#state.scale;
  }

  /**
   * Takes a step into account.
   *
   * @param loss unscaled; where it is not finite itself, no factor helps, and the step is not an overflow
   * @returns whether the step's gradients overflowed: its update must be left out
   */
  update(loss: number, gradNorm: number): boolean {
    const state = this.#state;
    if (Number.isFinite(gradNorm)) {
      state.steps += 1;
      if (state.steps === GROWTH_INTERVAL) this.#state = { scale: state.scale * GROWTH, steps: 0 };
      return false;
    }
    if (!Number.isFinite(loss) || state.scale <= SMALLEST) return false;
    this.#state = { scale: state.scale * BACKOFF, steps: 0 };
    return true;
  }

  state(): LossScaleState {
    return { ...this.#state };
  }

  restore(state: LossScaleState): void {
    this.#state = { ...state };
  }
}
