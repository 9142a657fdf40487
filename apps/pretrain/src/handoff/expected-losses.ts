/** The expected losses of a hand-off, measured by the trainer; `check.py` reproduces them. */
import { type StepMetrics, train, validate } from '@meap/trainer';
import type { OpenRun } from './open-run.ts';

/** A validation pass: nats per token, and bits per UTF-8 byte of text. */
interface ExpectedValidation {
  loss: number;
  bits_per_byte: number;
}

/** A training step: mean loss in nats, gradient norm before clipping. */
interface ExpectedStep {
  /** Completed steps, this one included. */
  step: number;
  loss: number;
  grad_norm: number;
  learning_rate: number;
  /** Whether the guard skipped the update. */
  skipped: boolean;
}

/** The key `expected` of `handoff.json`. */
export interface Expected {
  /** With the exported weights. */
  validation: ExpectedValidation;
  /** The next steps in order, each after the update of the previous one. */
  steps: readonly ExpectedStep[];
  /** After these steps. */
  validation_after: ExpectedValidation;
}

/**
 * Validates, runs the next `steps` steps and validates again. Advances the model by these steps.
 *
 * @param directory an empty folder for the trainer's output
 * @returns undefined when `signal` is aborted
 */
export async function measureExpected(
  { parts, checkpoint: { path, state } }: OpenRun,
  steps: number,
  directory: string,
  signal?: AbortSignal,
): Promise<Expected | undefined> {
  const validation = parts.validation!;
  const before = await validate(validation, signal);
  if (!before) return undefined;
  const taken: StepMetrics[] = [];
  if (steps > 0) {
    const { status } = await train({
      ...parts,
      directory,
      resume: path,
      steps: state.step + steps,
      validation: undefined,
      samples: undefined,
      // Only the metrics are kept.
      checkpoint: { ...parts.checkpoint, keepBest: false, background: false, saveModel: async () => {} },
      signal,
      onEvent: (event) => {
        if (event.type === 'step') taken.push(event);
      },
    });
    if (status === 'stopped') return undefined;
  }
  const after = steps > 0 ? await validate(validation, signal) : before;
  if (!after) return undefined;
  const expected = ({ valLoss, bitsPerByte }: typeof before) => ({
    loss: valLoss,
    bits_per_byte: bitsPerByte!,
  });
  return {
    validation: expected(before),
    steps: taken.map(({ step, loss, gradNorm, lr, skipped }) => ({
      step,
      loss: loss!,
      grad_norm: gradNorm!,
      learning_rate: lr,
      skipped: skipped ?? false,
    })),
    validation_after: expected(after),
  };
}
