/**
 * The training loop: resume, then for each step compute, log, validate, sample, save. Steps are in gradients.ts (a single
 * process) or data-parallel.ts (several ranks) and steps.ts (guard, clipping, update). Model and data are passed in.
 */
import { dirname, join } from 'node:path';
import { tidyCheckpoints } from './checkpoint.ts';
import { CheckpointSaver } from './checkpoint-saver.ts';
import { dataParallelStep, requireSameOnAll } from './data-parallel.ts';
import { Guard } from './guard.ts';
import { acquireLock, type RunLock } from './lock.ts';
import { LossScale } from './loss-scale.ts';
import { memoryInUse } from './memory-in-use.ts';
import { changedNumerics, describeNumerics } from './numerics.ts';
import { RankGroup } from './rank-group.ts';
import { broadcastTensors } from './rank-tensors.ts';
import { findCheckpoint, requireSameRun, requireSameWeights } from './resume.ts';
import { RunLog } from './run-log.ts';
import { RunSaver } from './run-saver.ts';
import { optimizerSteps, type StepOutcome } from './steps.ts';
import { parametersSha256 } from './tensor-bytes.ts';
import { requireCounts, type TrainOptions, type TrainResult } from './train-options.ts';
import { disposeStep, singleProcessStep } from './training-step.ts';
import type { StepMetrics } from './types.ts';
import { validate } from './validation.ts';
import type { TrainerState } from './write-checkpoint.ts';

/**
 * Trains until `steps` optimizer steps are complete or `signal` is aborted. Resuming on the same hardware and versions gives
 * the same bytes as an uninterrupted run.
 *
 * Writes `metrics.jsonl`, `samples.jsonl`, TensorBoard events and `checkpoints/` into `directory`. A checkpoint that cannot
 * be written during the run, as on a full disk, is a warning and training continues; the last one must succeed.
 *
 * @throws RunLockedError, RunExistsError, ResumeMismatchError, CheckpointError, NonFiniteError; all TrainerError.
 */
export async function train<Batch, ValidationBatch = Batch>(
  options: TrainOptions<Batch, ValidationBatch>,
): Promise<TrainResult> {
  requireCounts(options);
  const { directory, parameters, optimizer, schedule, steps, clipNorm, signal, utilisation } = options;
  const { validation, samples, checkpoint, fingerprints = {}, microBatches = 1 } = options;
  const { ranks = new RankGroup(), zeroStage = 0 } = options;
  const isShared = ranks.size > 1;
  const emit = (ranks.isFirst && options.onEvent) || (() => {});
  const warn = (message: string) => emit({ type: 'warning', message });

  const parts = { ...options, microBatches };
  const work = isShared ? dataParallelStep({ ...parts, ranks, zeroStage }) : singleProcessStep(parts);
  const guard = new Guard(options.guard);
  const scaling = options.lossScaling ? new LossScale() : undefined;
  const optimizerStep = optimizerSteps({ work, guard, scaling, clipNorm, optimizer, isShared });
  const numerics = describeNumerics(ranks.size);
  const run: Progress = { step: 0, tokens: 0, validatedStep: 0, sampledStep: 0 };
  const checkpoints = join(directory, 'checkpoints');
  const { saveModel, background = true, keepLast = 2, keepEvery, keepBest } = checkpoint;
  const saver = new RunSaver({
    saver: new CheckpointSaver({
      directory: checkpoints,
      saveModel,
      background,
      keepLast,
      keepEvery,
      keepBest,
    }),
    ranks,
    work,
    state,
    flushLogs: () => log!.flush(),
    lock: () => lock!.mark,
    onSaved: (step, path) => emit({ type: 'checkpoint', step, path }),
    onFailure: warn,
  });
  let lock: RunLock | undefined;
  let log: RunLog | undefined;
  let peakFlops = 0;

  try {
    await requireSameOnAll(ranks, fingerprints);
    await resume();
    peakFlops = (await ranks.exchange(utilisation?.peakFlops ?? 0)).reduce((sum, peak) => sum + peak);
    emit({ type: 'start', step: run.step });

    // Validation and samples that an abort prevented come before the next step.
    await validateIfDue();
    await sampleIfDue();
    while (run.step < steps) {
      const done = await optimizerStep.run(run, schedule(run.step));
      if (!done) break;
      run.step += 1;
      run.tokens += done.tokens;
      run.valLoss = undefined;
      saver.markChanged();
      for (const outcome of await (isPause() ? optimizerStep.all() : optimizerStep.known())) report(outcome);
      await validateIfDue();
      await sampleIfDue();
      if (run.step % checkpoint.every === 0 && run.step < steps) await saver.save();
    }
    for (const outcome of await optimizerStep.all()) report(outcome);
    const status = run.step >= steps ? 'finished' : 'stopped';
    return { status, step: run.step, tokens: run.tokens, checkpoint: await saver.finish() };
  } finally {
    await saver.close();
    log?.close();
    optimizerStep.dispose();
    disposeStep(work);
    lock?.release();
  }

  /** Locks the directory and restores its checkpoint, if there is one, on all ranks. */
  async function resume(): Promise<void> {
    const found = await ranks.onFirst(async () => {
      lock = await acquireLock(directory, { onWait: warn, signal });
      const found = await findCheckpoint(directory, options.resume ?? 'auto', warn);
      if (!found) return undefined;
      requireSameRun(found, fingerprints);
      await checkpoint.loadModel(found.path);
      await requireSameWeights(found, parameters);
      return found;
    });
    // New weights too: ranks must start with equal weights.
    if (isShared) await broadcastTensors(ranks, parameters.values());
    if (found) {
      const { path, state } = found;
      await work.load(path);
      work.state.step = state.optimizerStep;
      guard.restore(state.guard);
      if (state.lossScale) scaling?.restore(state.lossScale);
      const { step, tokens, validatedStep, sampledStep, valLoss } = state;
      Object.assign(run, { step, tokens, validatedStep, sampledStep, valLoss });
      if (dirname(path) === checkpoints) saver.markSaved(path);
      emit({ type: 'resume', step, path });
      const changes = changedNumerics(state.numerics, numerics);
      if (changes) {
        warn(
          `resume: the environment has changed since step ${step}: ${changes}; results round differently from those of an ` +
            'uninterrupted run',
        );
      }
    }
    if (!ranks.isFirst) return;
    for (const name of await tidyCheckpoints(checkpoints, run.step)) {
      warn(`checkpoints/${name} is later than step ${run.step}: renamed to ${name}.set-aside`);
    }
    log = new RunLog(directory, run.step, lock!, warn);
  }

  /** Returns the part of a checkpoint besides weights and optimizer tensors. */
  async function state(): Promise<TrainerState> {
    return {
      formatVersion: 1,
      ...run,
      optimizerStep: work.state.step,
      guard: guard.state(),
      ...(scaling && { lossScale: scaling.state() }),
      fingerprints,
      numerics,
      weightsSha256: await parametersSha256(parameters),
    };
  }

  function isDue(every: number | undefined): boolean {
    return every !== undefined && run.step > 0 && (run.step % every === 0 || run.step === steps);
  }

  /** Whether the outcome of this step is needed before the next. */
  function isPause(): boolean {
    const others = isDue(validation?.every) || isDue(samples?.every);
    return others || run.step % checkpoint.every === 0 || signal?.aborted === true;
  }

  function report(outcome: StepOutcome): void {
    const { step, tokens, loss, lr, gradNorm, tokensPerSecond, lossScale, anomaly, skip, reason } = outcome;
    const metrics: StepMetrics = {
      step,
      tokens,
      loss: finiteOrNull(loss),
      lr,
      gradNorm: finiteOrNull(gradNorm),
      tokensPerSecond,
      mfu: utilisation ? (utilisation.flopPerToken * tokensPerSecond) / peakFlops : null,
      ...memoryInUse(),
      ...(anomaly && { anomaly }),
      ...(lossScale !== undefined && { lossScale }),
      ...(skip && { skipped: true }),
    };
    log?.step(metrics);
    emit({ type: 'step', ...metrics });
    if (anomaly) {
      const what = reason ?? `loss ${loss}, gradient norm ${gradNorm}`;
      warn(`step ${step}: ${anomaly}: ${what}; update ${skip ? 'skipped' : 'applied'}`);
    }
  }

  async function validateIfDue(): Promise<void> {
    if (!validation || !isDue(validation.every) || run.validatedStep === run.step) return;
    const result = await validate(validation, signal, ranks);
    if (!result) return;
    run.validatedStep = run.step;
    run.valLoss = result.valLoss;
    saver.markChanged();
    const metrics = { step: run.step, tokens: run.tokens, ...result };
    log?.validation(metrics);
    emit({ type: 'validation', ...metrics });
  }

  async function sampleIfDue(): Promise<void> {
    if (!samples || !isDue(samples.every) || run.sampledStep === run.step) return;
    // An abort prevented the validation of this step: both follow after resuming.
    if (validation && isDue(validation.every) && run.validatedStep < run.step) return;
    const rows = await ranks.onFirst(() => samples.generate(run.step));
    run.sampledStep = run.step;
    saver.markChanged();
    for (const sample of rows) {
      log?.sample(run.step, sample);
      emit({ type: 'sample', step: run.step, sample });
    }
  }
}

/** The counters of the loop in a checkpoint's state. */
type Progress = Pick<TrainerState, 'step' | 'tokens' | 'validatedStep' | 'sampledStep' | 'valLoss'>;

function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
