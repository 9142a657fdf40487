/** State of the loss scale in a checkpoint. */
export interface LossScaleState {
  /** Factor on the loss, a power of two. */
  scale: number;
  /** Steps without overflow since the factor last changed. */
  steps: number;
}

/**
 * PyTorch starts at 2¹⁶ for a mean over targets. This scales their sum, so that it corresponds to 2¹⁰ times the number of
 * targets.
 */
const INITIAL = 2 ** 10;

/** As in PyTorch: doubled after this many steps without overflow, halved after each overflow. */
const GROWTH_INTERVAL = 2000;
const GROWTH = 2;
const BACKOFF = 0.5;

/** At this scale, gradients that overflow are not finite regardless of the scale. */
const MIN_SCALE = 2 ** -24;

/**
 * The factor on the loss that keeps gradients in the range of float16 (Micikevicius et al., arXiv 1710.03740), adjusted as
 * by PyTorch's GradScaler: a step with overflowing gradients is skipped and halves the factor; 2000 consecutive steps
 * without overflow double it. Powers of two, so that scaling does not round.
 */
export class LossScale {
  #state: LossScaleState = { scale: INITIAL, steps: 0 };

  /** The factor for the next step's loss. */
  get value(): number {
    return this.#state.scale;
  }

  /**
   * Updates the factor after a step.
   *
   * @param loss unscaled; a loss that is not finite itself is not an overflow
   * @returns whether the gradients overflowed, so that the update must be skipped
   */
  update(loss: number, gradNorm: number): boolean {
    const state = this.#state;
    if (Number.isFinite(gradNorm)) {
      state.steps += 1;
      if (state.steps === GROWTH_INTERVAL) this.#state = { scale: state.scale * GROWTH, steps: 0 };
      return false;
    }
    if (!Number.isFinite(loss) || state.scale <= MIN_SCALE) return false;
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
