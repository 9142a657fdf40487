import { Guard } from './guard.ts';
import { optimizerSteps } from './steps.ts';
import type { TrainOptions } from './train-options.ts';
import { disposeStep, singleProcessStep } from './training-step.ts';

/**
 * Runs one optimizer step as `train` does, without a run directory, and reads nothing: for planning on devices that are
 * not there.
 */
export async function runStep<Batch>(
  options: Pick<
    TrainOptions<Batch>,
    'parameters' | 'loss' | 'batches' | 'microBatches' | 'optimizer' | 'clipNorm'
  >,
): Promise<void> {
  const { optimizer, clipNorm, microBatches = 1 } = options;
  const work = singleProcessStep({ ...options, microBatches });
  const steps = optimizerSteps({ work, guard: new Guard(), clipNorm, optimizer, isShared: false });
  await steps.run({ step: 0, tokens: 0 }, 1);
  steps.dispose();
  disposeStep(work);
}
