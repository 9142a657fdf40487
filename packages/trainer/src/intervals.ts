/** When something is done during a run, such as a validation. */
import { TrainerError } from './errors.ts';

/**
 * A number of steps; or of tokens; or a number of points per doubling of the step, so that they are evenly spaced on a
 * logarithmic axis: with 1 after steps 1, 2, 4, 8, …, with 2 also between them.
 */
export type Interval = number | { readonly tokens: number } | { readonly perDoubling: number };

/** A point of a run. */
export interface RunPoint {
  /** Steps completed, from 0. */
  step: number;
  tokens: number;
  /** Tokens of the last step. */
  stepTokens: number;
}

/** Whether an interval ends with the last step. */
export function isDue(interval: Interval, { step, tokens, stepTokens }: RunPoint): boolean {
  if (step === 0) return false;
  if (typeof interval === 'number') return step % interval === 0;
  if ('tokens' in interval) {
    return Math.floor(tokens / interval.tokens) > Math.floor((tokens - stepTokens) / interval.tokens);
  }
  // Near the start several points may be one step.
  const nearest = Math.round(Math.log2(step) * interval.perDoubling);
  return [nearest - 1, nearest, nearest + 1].some(
    (point) => Math.round(2 ** (point / interval.perDoubling)) === step,
  );
}

/** @throws TrainerError unless the interval is a whole number above 0, of steps, tokens or points */
export function requireInterval(name: string, interval: Interval): void {
  const [key, value] = typeof interval === 'number' ? ['', interval] : Object.entries(interval)[0];
  if (Number.isSafeInteger(value) && value > 0) return;
  throw new TrainerError(`train: ${name}${key && `.${key}`} is ${value}, expected an integer from 1`);
}
