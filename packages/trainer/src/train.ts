/**
 * The training loop, top to bottom: resume, then for each step accumulate gradients over micro-batches, judge,
 * clip, update, log, validate, sample, save. It knows no model and no data set; all parts are passed in.
 */
import { dirname, join } from 'node:path';
import { canScaleOnDevice } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { tidyCheckpoints } from './checkpoint.ts';
import { CheckpointSaver, type SaveModel } from './checkpoint-saver.ts';
import { dataParallelStep, requireSameOnAll, type ZeroStage } from './data-parallel.ts';
import { CheckpointError, TrainerError } from './errors.ts';
import { clipping } from './gradients.ts';
import { Guard, type GuardOptions, type Verdict } from './guard.ts';
import { acquireLock, type RunLock } from './lock.ts';
import { LossScale } from './loss-scale.ts';
import { memoryInUse } from './memory-in-use.ts';
import { changedNumerics, describeNumerics } from './numerics.ts';
import type { Optimizer } from './optimizer.ts';
import { PendingSteps } from './pending-steps.ts';
import { RankGroup } from './rank-group.ts';
import { broadcastTensors } from './rank-tensors.ts';
import { findCheckpoint, requireSameRun, requireSameWeights } from './resume.ts';
import { RunLog } from './run-log.ts';
import type { Schedule } from './schedules.ts';
import { parametersSha256 } from './tensor-bytes.ts';
import { disposeStep, singleProcessStep } from './training-step.ts';
import type { BatchSource, Json, Loss, Parameters, StepMetrics, TrainEvent } from './types.ts';
import { type ValidationOptions, validate } from './validation.ts';
import type { Retention, TensorFile, TrainerState } from './write-checkpoint.ts';

/** Options of {@link train}; batches to validate on may be of another type. */
export interface TrainOptions<Batch, ValidationBatch = Batch> {
  /** The run directory; made if absent. */
  directory: string;
  parameters: Parameters;
  loss: Loss<Batch>;
  batches: BatchSource<Batch>;
  optimizer: Optimizer;
  schedule: Schedule;
  /** Optimizer steps of the whole run. */
  steps: number;
  /** Micro-batches accumulated for one optimizer step; 1 unless given. */
  microBatches?: number;
  /** Largest global norm of the mean gradient; Infinity never clips. */
  clipNorm: number;
  validation?: ValidationOptions<ValidationBatch>;
  /** Makes samples for `samples.jsonl`, such as generated texts. */
  samples?: SampleOptions;
  checkpoint: CheckpointOptions;
  /**
   * `auto` (default) goes on from the newest complete checkpoint of `directory` or starts anew; `never` refuses a
   * directory that holds a run; a path goes on from that checkpoint.
   */
  resume?: 'auto' | 'never' | (string & {});
  /** What must be the same to resume: data set fingerprint, model configuration, seeds. */
  fingerprints?: Readonly<Record<string, string | number>>;
  guard?: GuardOptions;
  /**
   * Scales the loss while gradients are computed, as PyTorch's GradScaler does: for precisions that cannot hold small
   * gradients, float16. A step whose scaled gradients overflow is left out, and is no anomaly.
   */
  lossScaling?: boolean;
  /** For `mfu` = flopPerToken · tokens per second / peakFlops; the peak in FLOP/s as measured on this machine. */
  utilisation?: { flopPerToken: number; peakFlops: number };
  /**
   * The processes to share every step with, from `connectRanks`; each calls `train` with the same options. Micro-batches
   * a step have to be a multiple of their number. Only rank 0 writes files and calls `onEvent`. This process alone
   * unless given.
   */
  ranks?: RankGroup;
  /** What ranks share out instead of holding it all; 0 unless given. */
  zeroStage?: ZeroStage;
  /** When aborted, on any rank, the run saves a checkpoint of the last completed step and returns. */
  signal?: AbortSignal;
  /** Called at once for everything that happens; it must not throw. */
  onEvent?: (event: TrainEvent) => void;
}

/** When and how {@link train} makes samples. */
export interface SampleOptions {
  /** Steps between two samples; the last step always has one. */
  every: number;
  /** Makes the rows of one sample, such as generated texts. */
  generate: (step: number) => SampleRows | Promise<SampleRows>;
}

/** Rows a sample callback returns; each becomes a line, after `step`. */
export type SampleRows = readonly { [key: string]: Json }[];

/** How {@link train} saves and loads. */
export interface CheckpointOptions extends Partial<Retention> {
  /** Steps between two checkpoints; one more follows the last step or an abort. */
  every: number;
  /**
   * Whether training goes on while a checkpoint is written, from a copy of weights and moments that is held from the
   * first one on; true unless given. Without, training waits and nothing is copied.
   */
  background?: boolean;
  /**
   * Writes model, config and tokenizer into an existing directory; weights in float32, or resuming is not exact. What is
   * written through the second argument is copied now and written later; everything else training waits for.
   */
  saveModel: SaveModel;
  /** Fills the same `parameters` from a directory that `saveModel` wrote. */
  loadModel: (directory: string) => void | Promise<void>;
}

/** How a call of {@link train} ended. */
export interface TrainResult {
  /** Whether all steps are done, or `signal` was aborted. */
  status: 'finished' | 'stopped';
  /** Optimizer steps completed. */
  step: number;
  tokens: number;
  /** The checkpoint that holds exactly this state. */
  checkpoint: string;
}

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
  const { directory, parameters, batches, optimizer, schedule, steps, microBatches = 1, signal } = options;
  const { validation, samples, checkpoint, utilisation, fingerprints = {} } = options;
  const { ranks = new RankGroup(), zeroStage = 0 } = options;
  const emit = (ranks.isFirst && options.onEvent) || (() => {});
  const warn = (message: string) => emit({ type: 'warning', message });
  const isDue = (every: number) => run.step > 0 && (run.step % every === 0 || run.step === steps);
  const checkpoints = join(directory, 'checkpoints');
  const parts = { ...options, microBatches };
  const isShared = ranks.size > 1;
  const work = isShared ? dataParallelStep({ ...parts, ranks, zeroStage }) : singleProcessStep(parts);
  const guard = new Guard(options.guard);
  const scaling = options.lossScaling ? new LossScale() : undefined;
  // A GPU that decides by itself is read later; where an update may be left out and the run go on, it is asked first.
  const canReadLater = canScaleOnDevice() && optimizer.takesDeviceScale && guard.goesOnOnlyWithAll;
  const pending = canReadLater && !scaling && !isShared ? new PendingSteps() : undefined;
  const { saveModel, background = true, keepLast = 2, keepEvery, keepBest } = checkpoint;
  const retention = { keepLast, keepEvery, keepBest };
  const saver = new CheckpointSaver({ directory: checkpoints, saveModel, background, ...retention });
  const numerics = describeNumerics(ranks.size);
  const run: Progress = { step: 0, tokens: 0, validatedStep: 0, sampledStep: 0, data: snapshot(batches) };
  let lock: RunLock | undefined;
  let log: RunLog | undefined;
  let peakFlops = 0;
  /** On rank 0 the checkpoint that holds exactly this state, perhaps still being written; undefined where there is none. */
  let saved: Promise<string | undefined> | undefined;
  try {
    await requireSameOnAll(ranks, fingerprints);
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
      await work.load(found.path);
      await batches.restore(structuredClone(found.state.data));
      guard.restore(found.state.guard);
      if (found.state.lossScale) scaling?.restore(found.state.lossScale);
      work.state.step = found.state.optimizerStep;
      const { step, tokens, validatedStep, sampledStep, valLoss, data } = found.state;
      Object.assign(run, { step, tokens, validatedStep, sampledStep, valLoss, data });
      if (dirname(found.path) === checkpoints) saved = Promise.resolve(found.path);
      emit({ type: 'resume', step, path: found.path });
      const changes = changedNumerics(found.state.numerics, numerics);
      if (changes) {
        warn(
          `resume: computed otherwise than up to step ${step}: ${changes}; results round differently, so the bytes ` +
            'will not be those of a run that never stopped',
        );
      }
    }
    if (ranks.isFirst) {
      for (const name of await tidyCheckpoints(checkpoints, run.step)) {
        warn(`checkpoints/${name} is later than step ${run.step}: renamed to ${name}.set-aside`);
      }
      log = new RunLog(directory, run.step, lock!, warn);
    }
    const peaks = await ranks.exchange(utilisation?.peakFlops ?? 0);
    peakFlops = peaks.reduce((sum, peak) => sum + peak);
    emit({ type: 'start', step: run.step });

    // Validation and samples also come before the first step: an abort may have cut them off last time.
    await validateAndSample();
    while (run.step < steps) {
      const started = performance.now();
      const lr = schedule(run.step);
      const lossScale = scaling?.value;
      const leaveUnread = pending !== undefined;
      const sums = await work.accumulate(run.step, { lossScale, leaveUnread });
      if (!sums) break;
      const { gradients, count, tokens: stepTokens, unread } = sums;
      const progress = { step: run.step + 1, tokens: run.tokens + stepTokens, lr };
      let judged: [Omit<Measured, 'tokensPerSecond'>, Verdict] | undefined;
      if (pending && unread) {
        const step = { ...progress, ...unread, stepTokens, count };
        pending.push(step, started);
        await work.update(sums, lr, pending.scaleOf(step, options.clipNorm));
      } else {
        const loss = sums.loss / count;
        const { gradNorm, gradientScale } = clipping(sums, options.clipNorm);
        const overflows = scaling?.update(loss, gradNorm);
        const verdict = overflows ? { skip: true } : guard.judge(progress.step, loss, gradNorm);
        if (!verdict.skip) await work.update(sums, lr, gradientScale);
        judged = [{ ...progress, loss, gradNorm, lossScale }, verdict];
      }
      tf.dispose([...gradients.values()]);

      Object.assign(run, { step: progress.step, tokens: progress.tokens, data: snapshot(batches) });
      if (judged) {
        const tokensPerSecond = stepTokens / ((performance.now() - started) / 1000);
        report({ ...judged[0], tokensPerSecond }, judged[1]);
      } else await reportRead(isPause());

      saved = undefined;
      run.valLoss = undefined;
      await validateAndSample();
      if (run.step % checkpoint.every === 0 && run.step < steps) {
        await save({ isLast: false });
      }
    }
    await reportRead(true);
    const status = run.step >= steps ? 'finished' : 'stopped';
    let last = await written();
    if (last.path === undefined) {
      await save({ isLast: true });
      last = await written();
    }
    // On all ranks, though only one of them writes.
    if (last.path === undefined) throw new CheckpointError(last.failed!);
    return { status, step: run.step, tokens: run.tokens, checkpoint: last.path };
  } finally {
    await saver.close();
    log?.close();
    pending?.dispose();
    disposeStep(work);
    lock?.release();
  }

  /** Whether what follows this step needs its outcome. */
  function isPause(): boolean {
    const others = [validation?.every, samples?.every].some((every) => every && isDue(every));
    return others || run.step % checkpoint.every === 0 || signal?.aborted === true;
  }

  /** Judges and reports the steps that have been read. */
  async function reportRead(isAll: boolean): Promise<void> {
    for (const read of (await (isAll ? pending?.settle() : pending?.take())) ?? []) {
      const { step, tokens, lr, count, tokensPerSecond } = read;
      const loss = read.loss / count;
      const { gradNorm } = clipping(read, options.clipNorm);
      const metrics = { step, tokens, lr, loss, gradNorm, tokensPerSecond };
      report(metrics, guard.judge(step, loss, gradNorm));
    }
  }

  function report(measured: Measured, { anomaly, skip }: Verdict): void {
    const { step, tokens, loss, lr, gradNorm, tokensPerSecond, lossScale } = measured;
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
      const consequence = skip ? 'skipped' : 'applied';
      warn(`step ${step}: ${anomaly}: loss ${loss}, gradient norm ${gradNorm}; update ${consequence}`);
    }
  }

  async function validateAndSample(): Promise<void> {
    if (validation && isDue(validation.every) && run.validatedStep < run.step) {
      const result = await validate(validation, signal, ranks);
      if (!result) return;
      run.validatedStep = run.step;
      run.valLoss = result.valLoss;
      saved = undefined;
      const metrics = { step: run.step, tokens: run.tokens, ...result };
      log?.validation(metrics);
      emit({ type: 'validation', ...metrics });
    }
    if (samples && isDue(samples.every) && run.sampledStep < run.step) {
      const { generate } = samples;
      const rows = await ranks.onFirst(() => generate(run.step));
      run.sampledStep = run.step;
      saved = undefined;
      for (const sample of rows) {
        log?.sample(run.step, sample);
        emit({ type: 'sample', step: run.step, sample });
      }
    }
  }

  /** Begins to save on rank 0 what all ranks hold; waits only for the copy, unless there is none. */
  async function save({ isLast }: { isLast: boolean }): Promise<void> {
    const saveOnFirst = async (ask: (index: number) => Promise<Uint8Array>) => {
      const tensors = work.tensors.map(({ name, shape }, index) => {
        return [name, { dtype: 'F32', shape, data: () => ask(index) }] as const;
      });
      const begun = begin(tensors);
      const path = begun.then(({ path }) => path);
      saved = isLast ? path : path.catch(goOnWithout);
      // Whoever waits for it hears of a failure; until then it is not unhandled.
      saved.catch(() => {});
      await begun.catch(() => {});
    };
    await ranks.onFirst(saveOnFirst, work.readTensor);
  }

  async function begin(tensors: TensorFile['tensors']): Promise<{ path: Promise<string> }> {
    const logs = log!.flush();
    const state: TrainerState = {
      formatVersion: 1,
      ...run,
      optimizerStep: work.state.step,
      guard: guard.state(),
      ...(scaling && { lossScale: scaling.state() }),
      fingerprints,
      numerics,
      weightsSha256: await parametersSha256(parameters),
    };
    const { path } = await saver.begin(state, tensors, logs, lock!.mark);
    const told = path.then((path) => {
      emit({ type: 'checkpoint', step: state.step, path });
      return path;
    });
    return { path: told };
  }

  /** The checkpoint of exactly this state, once it is written, or why it could not be; the same on all ranks. */
  function written(): Promise<{ path?: string; failed?: string }> {
    return ranks.onFirst(async () => {
      try {
        return { path: await saved };
      } catch (error) {
        if (!(error instanceof CheckpointError)) throw error;
        return { failed: error.message };
      }
    });
  }

  function goOnWithout(error: unknown): undefined {
    if (!(error instanceof CheckpointError)) throw error;
    warn(`${error.message}; training goes on, earlier checkpoints stay`);
  }
}

/** What a step gave, finite or not. */
type Measured = Record<'step' | 'tokens' | 'loss' | 'lr' | 'gradNorm' | 'tokensPerSecond', number> & {
  lossScale?: number;
};

/** The part of a checkpoint's state that the loop itself counts. */
type Progress = Pick<TrainerState, 'step' | 'tokens' | 'validatedStep' | 'sampledStep' | 'valLoss' | 'data'>;

/** A copy: the source may hand out the object it goes on changing. */
function snapshot(batches: { state(): Json }): Json {
  return structuredClone(batches.state());
}

function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

function requireCounts<Batch, ValidationBatch>(options: TrainOptions<Batch, ValidationBatch>): void {
  const { steps, microBatches, validation, samples, checkpoint } = options;
  const counts = {
    steps,
    microBatches: microBatches ?? 1,
    'validation.every': validation?.every ?? 1,
    'samples.every': samples?.every ?? 1,
    'checkpoint.every': checkpoint.every,
    'checkpoint.keepLast': checkpoint.keepLast ?? 1,
    'checkpoint.keepEvery': checkpoint.keepEvery ?? 1,
  };
  for (const [name, value] of Object.entries(counts)) {
    if (Number.isInteger(value) && value > 0) continue;
    throw new TrainerError(`train: ${name} is ${value}, expected a whole number above 0`);
  }
  if (checkpoint.keepBest && (!validation || checkpoint.every % validation.every !== 0)) {
    throw new TrainerError(
      `train: checkpoint.keepBest with checkpoint.every ${checkpoint.every} and validation.every ${validation?.every}, ` +
        'expected a validation at every checkpoint: make one a multiple of the other',
    );
  }
}
