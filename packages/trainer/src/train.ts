/**
 * The training loop: resume, then for each step compute, log, validate, probe, sample, save. Steps are in gradients.ts (a single
 * process) or data-parallel.ts (several ranks) and steps.ts (guard, clipping, update). Model and data are passed in.
 */
import { dirname, join } from 'node:path';
import { tidyCheckpoints } from './checkpoint.ts';
import { CheckpointSaver } from './checkpoint-saver.ts';
import { dataParallelStep, requireSameOnAll } from './data-parallel.ts';
import { Guard } from './guard.ts';
import { type Interval, isDue } from './intervals.ts';
import { acquireLock, type RunLock } from './lock.ts';
import { LossScale } from './loss-scale.ts';
import { memoryInUse } from './memory-in-use.ts';
import { changedNumerics, describeNumerics } from './numerics.ts';
import { dueProbes, measureProbes, type Probe, StopRules } from './probes.ts';
import { RankGroup } from './rank-group.ts';
import { broadcastTensors } from './rank-tensors.ts';
import { findCheckpoint, requireSameRun, requireSameWeights } from './resume.ts';
import { RunLog } from './run-log.ts';
import { RunSaver } from './run-saver.ts';
import { optimizerSteps, type StepOutcome } from './steps.ts';
import { parametersSha256 } from './tensor-bytes.ts';
import {
  type CheckpointOptions,
  requireCounts,
  type TrainOptions,
  type TrainResult,
} from './train-options.ts';
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
  const { validation, samples, probes = {}, stopWhen = [], checkpoint } = options;
  const { fingerprints = {}, microBatches = 1 } = options;
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
  const run: Progress = { step: 0, tokens: 0, stepTokens: 0, validatedStep: 0, sampledStep: 0 };
  const rules = new StopRules(stopWhen);
  const checkpoints = join(directory, 'checkpoints');
  const saver = checkpoint && createSaver(checkpoint);
  const time = { started: performance.now(), probes: 0 };
  let lock: RunLock | undefined;
  let log: RunLog | undefined;
  let peakFlops = 0;

  try {
    await requireSameOnAll(ranks, fingerprints);
    await resume();
    peakFlops = (await ranks.exchange(utilisation?.peakFlops ?? 0)).reduce((sum, peak) => sum + peak);
    emit({ type: 'start', step: run.step });

    // Measurements that an abort prevented come before the next step.
    await measureIfDue();
    while (!isLast()) {
      const done = await optimizerStep.run(run, schedule(run.step));
      if (!done) break;
      run.step += 1;
      run.tokens += done.tokens;
      run.stepTokens = done.tokens;
      run.valLoss = undefined;
      saver?.markChanged();
      for (const outcome of await (isPause() ? optimizerStep.all() : optimizerStep.known())) report(outcome);
      await measureIfDue();
      if (isSaveDue() && !isLast()) await saver?.save();
    }
    for (const outcome of await optimizerStep.all()) report(outcome);
    warnOfSlowProbes();
    const { step, tokens, stopReason } = run;
    const status = isLast() && isMeasured() ? 'finished' : 'stopped';
    return { status, step, tokens, ...(stopReason && { stopReason }), checkpoint: await saver?.finish() };
  } finally {
    await saver?.close();
    log?.close();
    optimizerStep.dispose();
    disposeStep(work);
    lock?.release();
  }

  function createSaver(options: CheckpointOptions): RunSaver {
    const { saveModel, background = true, keepLast = 2, keepEvery, keepBest } = options;
    return new RunSaver({
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
  }

  /** Locks the directory and restores its checkpoint, if there is one, on all ranks. */
  async function resume(): Promise<void> {
    const found = await ranks.onFirst(async () => {
      lock = await acquireLock(directory, { onWait: warn, signal });
      const found = await findCheckpoint(directory, checkpoint ? (options.resume ?? 'auto') : 'never', warn);
      if (!found) return undefined;
      requireSameRun(found, fingerprints);
      await checkpoint!.loadModel(found.path);
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
      const {
        step,
        tokens,
        stepTokens = 0,
        validatedStep,
        sampledStep,
        probedStep,
        valLoss,
        stopReason,
      } = state;
      Object.assign(run, {
        ...{ step, tokens, stepTokens, validatedStep, sampledStep, probedStep, valLoss },
        // Without rules, a run that one ended goes on.
        ...(stopWhen.length > 0 && { stopReason }),
      });
      rules.restore(state.held);
      if (dirname(path) === checkpoints) saver!.markSaved(path);
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
    log = new RunLog(directory, found?.state.step, lock!, warn);
  }

  /** Returns the part of a checkpoint besides weights and optimizer tensors. */
  async function state(): Promise<TrainerState> {
    return {
      formatVersion: 1,
      ...run,
      ...(stopWhen.length > 0 && { held: rules.state() }),
      optimizerStep: work.state.step,
      guard: guard.state(),
      ...(scaling && { lossScale: scaling.state() }),
      fingerprints,
      numerics,
      weightsSha256: await parametersSha256(parameters),
    };
  }

  /** Whether no step follows. */
  function isLast(): boolean {
    return run.step >= steps || run.stopReason !== undefined;
  }

  /** Whether a validation or a sample follows this step. */
  function isDueNow(every: Interval | undefined): boolean {
    return every !== undefined && run.step > 0 && (isLast() || isDue(every, run));
  }

  function isSaveDue(): boolean {
    return checkpoint !== undefined && run.step % checkpoint.every === 0;
  }

  /** Whether the outcome of this step is needed before the next. */
  function isPause(): boolean {
    const others = isDueNow(validation?.every) || isDueNow(samples?.every);
    const isProbed = dueProbes(probes, run, isLast()).length > 0;
    return others || isProbed || isSaveDue() || signal?.aborted === true;
  }

  function report(outcome: StepOutcome): void {
    const { step, tokens, loss, zLoss, lr, gradNorm, tokensPerSecond } = outcome;
    const { lossScale, anomaly, skip, reason } = outcome;
    const metrics: StepMetrics = {
      step,
      tokens,
      loss: finiteOrNull(loss),
      ...(zLoss !== undefined && { zLoss: finiteOrNull(zLoss) }),
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

  /** Validates, probes and samples. */
  async function measureIfDue(): Promise<void> {
    const wasLast = isLast();
    await validateIfDue();
    if (isValidated()) await probeIfDue();
    if (isLast() && !wasLast) emit({ type: 'stop', step: run.step, reason: run.stopReason! });
    // A probe may have made this step the last, which is always validated.
    await validateIfDue();
    if (isMeasured()) await sampleIfDue();
  }

  /** Whether no measurement of this step is left to do, as after an abort. */
  function isMeasured(): boolean {
    return isValidated() && (dueProbes(probes, run, isLast()).length === 0 || run.probedStep === run.step);
  }

  function isValidated(): boolean {
    return !isDueNow(validation?.every) || run.validatedStep === run.step;
  }

  async function validateIfDue(): Promise<void> {
    if (!validation || isValidated()) return;
    const result = await validate(validation, signal, ranks);
    if (!result) return;
    run.validatedStep = run.step;
    run.valLoss = result.valLoss;
    saver?.markChanged();
    const { valLoss, bitsPerByte } = result;
    run.stopReason ??= rules.take({ valLoss, ...(bitsPerByte !== undefined && { bitsPerByte }) });
    const metrics = { step: run.step, tokens: run.tokens, ...result };
    log?.validation(metrics);
    emit({ type: 'validation', ...metrics });
  }

  async function probeIfDue(): Promise<void> {
    const due = dueProbes(probes, run, isLast());
    if (due.length === 0 || run.probedStep === run.step) return;
    const { step, tokens } = run;
    const names = new Set(due.map(([name]) => name));
    const started = performance.now();
    const values = await measure(due);
    if (!values) return;
    const held = rules.state();
    const reason = rules.take(values);
    // The last step has all probes.
    const others = reason === undefined ? [] : Object.entries(probes).filter(([name]) => !names.has(name));
    const more = await measure(others);
    if (!more) return rules.restore(held);
    run.stopReason ??= reason;
    time.probes += performance.now() - started;
    run.probedStep = step;
    saver?.markChanged();
    const logged = Object.entries({ ...values, ...more }).map(([name, value]) => [name, finiteOrNull(value)]);
    const seconds = (performance.now() - started) / 1000;
    const metrics = { step, tokens, probes: Object.fromEntries(logged), seconds };
    log?.probes(metrics);
    emit({ type: 'probe', ...metrics });
  }

  /** Measures on rank 0; undefined if the run was aborted meanwhile. */
  function measure(
    chosen: readonly (readonly [string, Probe])[],
  ): Promise<Record<string, number> | undefined> {
    return ranks.onFirst(async () => {
      try {
        return await measureProbes(chosen, { step: run.step, tokens: run.tokens, signal });
      } catch (error) {
        if (signal?.aborted) return undefined;
        throw error;
      }
    });
  }

  function warnOfSlowProbes(): void {
    const share = time.probes / (performance.now() - time.started);
    if (time.probes < 1000 || share < 0.05) return;
    const seconds = Math.round(time.probes / 1000);
    warn(
      `probes took ${seconds} s, ${Math.round(100 * share)} % of the run; measure fewer rows, or less often`,
    );
  }

  async function sampleIfDue(): Promise<void> {
    if (!samples || !isDueNow(samples.every) || run.sampledStep === run.step) return;
    const rows = await ranks.onFirst(() => samples.generate(run.step));
    run.sampledStep = run.step;
    saver?.markChanged();
    for (const sample of rows) {
      log?.sample(run.step, sample);
      emit({ type: 'sample', step: run.step, sample });
    }
  }
}

/** The counters of the loop in a checkpoint's state. */
type Progress = Pick<
  TrainerState,
  'step' | 'tokens' | 'validatedStep' | 'sampledStep' | 'probedStep' | 'valLoss' | 'stopReason'
> & { stepTokens: number };

function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
