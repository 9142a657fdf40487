/**
 * The training loop. `train` is the sequence: resume, then for each step compute, log, validate, sample, save. What a
 * step computes is gradients.ts (one process) or data-parallel.ts (several ranks) and steps.ts (guard, clipping, update).
 * It knows no model and no data set; all parts are passed in.
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
 * Trains until `steps` optimizer steps are done or `signal` is aborted; resumable to the byte, on what computed it before.
 *
 * Writes `metrics.jsonl`, `samples.jsonl`, TensorBoard events and `checkpoints/` into `directory`. A checkpoint that
 * cannot be written in mid-run (a full disk) is reported as a warning and training goes on; the last one must succeed.
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

    // Validation and samples also come before the first step: an abort may have cut them off last time.
    await validateIfDue();
    await sampleIfDue();
    while (run.step < steps) {
      const done = await optimizerStep.run(run, schedule(run.step));
      if (!done) break;
      run.step += 1;
      run.tokens += done.tokens;
      run.valLoss = undefined;
      saver.hasChanged();
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

  /** Locks the directory and continues from its checkpoint, if there is one, on all ranks alike. */
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
    // Fresh weights too: ranks that began differently would stay different.
    if (isShared) await broadcastTensors(ranks, parameters.values());
    if (found) {
      const { path, state } = found;
      await work.load(path);
      work.state.step = state.optimizerStep;
      guard.restore(state.guard);
      if (state.lossScale) scaling?.restore(state.lossScale);
      const { step, tokens, validatedStep, sampledStep, valLoss } = state;
      Object.assign(run, { step, tokens, validatedStep, sampledStep, valLoss });
      if (dirname(path) === checkpoints) saver.isSavedIn(path);
      emit({ type: 'resume', step, path });
      const changes = changedNumerics(state.numerics, numerics);
      if (changes) {
        warn(
          `resume: computed otherwise than up to step ${step}: ${changes}; results round differently, so the bytes ` +
            'will not be those of a run that never stopped',
        );
      }
    }
    if (!ranks.isFirst) return;
    for (const name of await tidyCheckpoints(checkpoints, run.step)) {
      warn(`checkpoints/${name} is later than step ${run.step}: renamed to ${name}.set-aside`);
    }
    log = new RunLog(directory, run.step, lock!, warn);
  }

  /** All that a checkpoint holds beside weights and the optimizer's tensors. */
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

  /** Whether what follows this step needs its outcome. */
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
    saver.hasChanged();
    const metrics = { step: run.step, tokens: run.tokens, ...result };
    log?.validation(metrics);
    emit({ type: 'validation', ...metrics });
  }

  async function sampleIfDue(): Promise<void> {
    if (!samples || !isDue(samples.every) || run.sampledStep === run.step) return;
    // An abort cut off the validation of this step: both are for the next call.
    if (validation && isDue(validation.every) && run.validatedStep < run.step) return;
    const rows = await ranks.onFirst(() => samples.generate(run.step));
    run.sampledStep = run.step;
    saver.hasChanged();
    for (const sample of rows) {
      log?.sample(run.step, sample);
      emit({ type: 'sample', step: run.step, sample });
    }
  }
}

/** The part of a checkpoint's state that the loop itself counts. */
type Progress = Pick<TrainerState, 'step' | 'tokens' | 'validatedStep' | 'sampledStep' | 'valLoss'>;

function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
