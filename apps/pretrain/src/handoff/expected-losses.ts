/** What a hand-off promises: losses that whoever takes over has to find again, taken by the trainer itself. */
import { type StepMetrics, train, validate } from '@meap/trainer';
import type { OpenRun } from './open-run.ts';

/** A validation pass: nats per token, and bits per UTF-8 byte of text. */
interface ExpectedValidation {
  loss: number;
  bits_per_byte: number;
}

/** A training step: mean loss over its targets in nats, norm of its gradient before clipping. */
interface ExpectedStep {
  /** Steps completed, this one included. */
  step: number;
  loss: number;
  grad_norm: number;
  learning_rate: number;
  /** Whether the guard left the update out. */
  skipped: boolean;
}

/** The figures of `expected` in `handoff.json`. */
export interface Expected {
  /** With the weights that are handed over. */
  validation: ExpectedValidation;
  /** The steps that follow, in order, each after the update of the one before. */
  steps: readonly ExpectedStep[];
  /** After these steps. */
  validation_after: ExpectedValidation;
}

/**
 * Validates, takes the next `steps` steps, validates again. The model is then that of a later step.
 *
 * @param directory an empty folder for what the trainer writes
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
      // What is trained here is for its figures alone.
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
  const figures = ({ valLoss, bitsPerByte }: typeof before) => ({
    loss: valLoss,
    bits_per_byte: bitsPerByte,
  });
  return {
    validation: figures(before),
    steps: taken.map(({ step, loss, gradNorm, lr, skipped }) => ({
      step,
      loss: loss!,
      grad_norm: gradNorm!,
      learning_rate: lr,
      skipped: skipped ?? false,
    })),
    validation_after: figures(after),
  };
}
