/**
 * Optimizer steps and their outcomes. A step is computed in one of two ways, with the same numbers:
 *
 * - immediately: loss and gradient norm are read, checked by the guard, and the update is applied or skipped;
 * - deferred: the device clips the update, or skips it after a non-finite step, and its metrics are read
 *   asynchronously while it works on the next steps.
 */
import { canScaleOnDevice, markStep } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
import { clipping } from './gradients.ts';
import type { Guard, Verdict } from './guard.ts';
import type { LossScale } from './loss-scale.ts';
import type { Optimizer } from './optimizer.ts';
import { PendingSteps, type ReadStep } from './pending-steps.ts';
import type { TrainingStep } from './training-step.ts';

/** The metrics of a step and the guard's verdict. */
export interface StepOutcome extends Verdict {
  /** Optimizer steps completed, this one included. */
  step: number;
  /** Tokens of the run including this step. */
  tokens: number;
  lr: number;
  /** Mean negative log-likelihood over the step's targets, nats. */
  loss: number;
  /** Mean z-loss over the step's targets, if there is one. */
  zLoss?: number;
  /** Global L2 norm of the mean gradient before clipping. */
  gradNorm: number;
  tokensPerSecond: number;
  /** Factor on the loss, where it is scaled. */
  lossScale?: number;
}

/** Runs optimizer steps one after the other. */
export interface Steps {
  /** Runs the step after `progress`; returns undefined, without changes, if it was aborted. */
  run(progress: { step: number; tokens: number }, lr: number): Promise<{ tokens: number } | undefined>;
  /**
   * Returns outcomes known since the last call, in order.
   *
   * @throws NonFiniteError during iteration, at the step that ends the run
   */
  known(): Promise<Iterable<StepOutcome>>;
  /** Waits for all outcomes and returns them. */
  all(): Promise<Iterable<StepOutcome>>;
  dispose(): void;
}

/** Parts of an optimizer step. */
export interface StepsOptions {
  work: TrainingStep;
  guard: Guard;
  /** Loss scale, if any. */
  scaling?: LossScale;
  /** Maximum global norm of the mean gradient. */
  clipNorm: number;
}

/**
 * Creates deferred steps if backend and optimizer support them. Steps are immediate if an update may be skipped while the
 * run continues, or if ranks share a step.
 */
export function optimizerSteps(options: StepsOptions & { optimizer: Optimizer; isShared: boolean }): Steps {
  const { guard, scaling, optimizer, isShared } = options;
  const canDefer =
    canScaleOnDevice() && optimizer.takesDeviceScale && guard.stopsAtFirstFault && !scaling && !isShared;
  return canDefer ? deferredSteps(options) : immediateSteps(options);
}

function immediateSteps({ work, guard, scaling, clipNorm }: StepsOptions): Steps {
  const outcomes: StepOutcome[] = [];
  const take = async () => outcomes.splice(0);
  return {
    async run(progress, lr) {
      const started = performance.now();
      const lossScale = scaling?.value;
      const sums = await work.accumulate(progress.step, { lossScale });
      if (!sums) return undefined;
      try {
        const [step, tokens] = [progress.step + 1, progress.tokens + sums.tokens];
        const loss = sums.loss / sums.count;
        const { gradNorm, gradientScale } = clipping(sums, clipNorm);
        const overflows = scaling?.update(loss, gradNorm);
        const verdict = overflows ? { skip: true } : guard.judge(step, loss, gradNorm);
        if (!verdict.skip) await work.update(sums, lr, gradientScale);
        const tokensPerSecond = sums.tokens / ((performance.now() - started) / 1000);
        const zLoss = meanZLoss(sums);
        outcomes.push({ step, tokens, lr, loss, zLoss, gradNorm, tokensPerSecond, lossScale, ...verdict });
        return { tokens: sums.tokens };
      } finally {
        tf.dispose([...sums.gradients.values()]);
        markStep();
      }
    },
    known: take,
    all: take,
    dispose() {},
  };
}

function meanZLoss({ zLoss, count }: { zLoss?: number; count: number }): number | undefined {
  return zLoss === undefined ? undefined : zLoss / count;
}

function deferredSteps({ work, guard, clipNorm }: StepsOptions): Steps {
  const pending = new PendingSteps();
  function* judged(steps: ReadStep[]): Generator<StepOutcome> {
    for (const read of steps) {
      const { step, tokens, lr, tokensPerSecond } = read;
      const loss = read.loss / read.count;
      const { gradNorm } = clipping(read, clipNorm);
      const metrics = { step, tokens, lr, loss, zLoss: meanZLoss(read), gradNorm, tokensPerSecond };
      yield { ...metrics, ...guard.judge(step, loss, gradNorm) };
    }
  }
  return {
    async run(progress, lr) {
      const started = performance.now();
      const sums = await work.accumulate(progress.step, { leaveUnread: true });
      if (!sums) return undefined;
      const { gradients, count, tokens: stepTokens, unread } = sums;
      const tokens = progress.tokens + stepTokens;
      const step = { step: progress.step + 1, tokens, lr, stepTokens, count, ...unread! };
      pending.push(step, started);
      await work.update(sums, lr, pending.scaleOf(step, clipNorm));
      tf.dispose([...gradients.values()]);
      markStep();
      return { tokens: stepTokens };
    },
    known: async () => judged(await pending.take()),
    all: async () => judged(await pending.settle()),
    dispose: () => pending.dispose(),
  };
}
