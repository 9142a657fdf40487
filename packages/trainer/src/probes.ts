/** Measurements of the model in training, and rules that end a run by them. */
import { TrainerError } from './errors.ts';
import { type Interval, isDue, type RunPoint, requireInterval } from './intervals.ts';

/** A measurement of the model in training, such as an evaluation task. */
export interface Probe {
  /** Between two measurements; the start and the last step are always measured. */
  every: Interval;
  /**
   * Returns numbers by name; NaN and infinities are logged as null. If it throws after the run was aborted, the resumed
   * run measures again.
   */
  measure(at: ProbeContext): ProbeValues | Promise<ProbeValues>;
}

/** The point of a measurement. */
export interface ProbeContext {
  step: number;
  tokens: number;
  /** The signal of the run. */
  signal?: AbortSignal;
}

/** Numbers by name. */
export type ProbeValues = Readonly<Record<string, number>>;

/** Ends a run as finished when a measured value stays at or beyond a bound. */
export interface StopRule {
  /** `PROBE/NAME`, or `valLoss` or `bitsPerByte` of the validation. */
  value: string;
  /** The lowest value that counts; exclusive with `atMost`. */
  atLeast?: number;
  /** The highest value that counts. */
  atMost?: number;
  /** Measurements in a row; 1 by default. */
  times?: number;
}

/** Returns the values of all probes that are due, as `PROBE/NAME`. */
export async function measureProbes(
  probes: readonly (readonly [name: string, Probe])[],
  context: ProbeContext,
): Promise<Record<string, number>> {
  const values: Record<string, number> = {};
  for (const [name, probe] of probes) {
    for (const [key, value] of Object.entries(await probe.measure(context))) {
      if (typeof value !== 'number') {
        throw new TrainerError(`train: probe ${name} measured ${key} as ${String(value)}, expected a number`);
      }
      values[`${name}/${key}`] = value;
    }
  }
  return values;
}

/** The probes that are due at a point of the run. */
export function dueProbes(
  probes: Readonly<Record<string, Probe>>,
  point: RunPoint,
  isLast: boolean,
): (readonly [name: string, Probe])[] {
  return Object.entries(probes).filter(([, { every }]) => point.step === 0 || isLast || isDue(every, point));
}

/** Counts for how many measurements in a row each rule has held. */
export class StopRules {
  readonly #rules: readonly StopRule[];
  #held: number[];

  constructor(rules: readonly StopRule[]) {
    this.#rules = rules;
    this.#held = rules.map(() => 0);
  }

  /** Takes new values; returns the rule that ends the run, in words. @throws TrainerError for a value that is not measured */
  take(values: Readonly<Record<string, number>>): string | undefined {
    let reason: string | undefined;
    for (const [i, { value, atLeast = -Infinity, atMost = Infinity, times = 1 }] of this.#rules.entries()) {
      const measured = values[value];
      if (measured === undefined) {
        const siblings = Object.keys(values).filter((key) => probeOf(key) === probeOf(value));
        if (!value.includes('/') || siblings.length === 0) continue;
        throw new TrainerError(`train: stopWhen reads ${value}, expected one of ${siblings.join(', ')}`);
      }
      this.#held[i] = measured >= atLeast && measured <= atMost ? this.#held[i] + 1 : 0;
      if (this.#held[i] < times) continue;
      const bound = atLeast > -Infinity ? `at least ${atLeast}` : `at most ${atMost}`;
      reason ??= `${value} is ${measured.toPrecision(4)}, ${bound}${times > 1 ? ` in ${times} measurements in a row` : ''}`;
    }
    return reason;
  }

  state(): number[] {
    return [...this.#held];
  }

  /** Continues the counts of a checkpoint; with other rules they start again. */
  restore(held: readonly number[] | undefined): void {
    if (held?.length === this.#rules.length) this.#held = [...held];
  }
}

/** @throws TrainerError for invalid probes, or rules that can never hold */
export function requireProbes(
  probes: Readonly<Record<string, Probe>>,
  rules: readonly StopRule[],
  isValidated: boolean,
): void {
  for (const [name, { every }] of Object.entries(probes)) {
    if (name === '' || name.includes('/')) {
      throw new TrainerError(`train: a probe is named ${JSON.stringify(name)}, expected a name without /`);
    }
    requireInterval(`probes.${name}.every`, every);
  }
  for (const { value, atLeast, atMost, times = 1 } of rules) {
    const isKnown = value.includes('/')
      ? probeOf(value) in probes
      : isValidated && ['valLoss', 'bitsPerByte'].includes(value);
    if (!isKnown) {
      const names = [
        ...(isValidated ? ['valLoss', 'bitsPerByte'] : []),
        ...Object.keys(probes).map((name) => `${name}/…`),
      ];
      throw new TrainerError(
        `train: stopWhen reads ${value}, expected ${names.length > 0 ? `one of ${names.join(', ')}` : 'a probe or a validation'}`,
      );
    }
    if ((atLeast === undefined) === (atMost === undefined) || Number.isNaN(atLeast ?? atMost)) {
      throw new TrainerError(
        `train: stopWhen ${value} has atLeast ${atLeast} and atMost ${atMost}, expected a number in one of them`,
      );
    }
    if (!Number.isSafeInteger(times) || times < 1) {
      throw new TrainerError(`train: stopWhen ${value} has times ${times}, expected an integer from 1`);
    }
  }
}

function probeOf(value: string): string {
  return value.split('/', 1)[0];
}
