/** Options and result of `train`. */

import type { SaveModel } from './checkpoint-saver.ts';
import type { ZeroStage } from './data-parallel.ts';
import { TrainerError } from './errors.ts';
import type { GuardOptions } from './guard.ts';
import { type Interval, requireInterval } from './intervals.ts';
import type { Optimizer } from './optimizer.ts';
import { type Probe, requireProbes, type StopRule } from './probes.ts';
import type { RankGroup } from './rank-group.ts';
import type { Schedule } from './schedules.ts';
import type { BatchSource, Json, Loss, Parameters, TrainEvent } from './types.ts';
import type { ValidationOptions } from './validation.ts';
import type { Retention } from './write-checkpoint.ts';

/** Options of `train`; validation batches may have another type. */
export interface TrainOptions<Batch, ValidationBatch = Batch> {
  /** The run directory; created if missing. */
  directory: string;
  parameters: Parameters;
  loss: Loss<Batch>;
  batches: BatchSource<Batch>;
  optimizer: Optimizer;
  schedule: Schedule;
  /** Optimizer steps of the whole run. */
  steps: number;
  /** Micro-batches per optimizer step; 1 by default. */
  microBatches?: number;
  /** Maximum global norm of the mean gradient; Infinity disables clipping. */
  clipNorm: number;
  validation?: ValidationOptions<ValidationBatch>;
  /** Samples for `samples.jsonl`, such as generated texts. */
  samples?: SampleOptions;
  /** Measurements of the model by name, at the start and during the run. */
  probes?: Readonly<Record<string, Probe>>;
  /** The first rule that holds ends the run as finished, after its validation, samples, probes and checkpoint. */
  stopWhen?: readonly StopRule[];
  /** Without it the run saves nothing, cannot be resumed, and needs a folder without a run. */
  checkpoint?: CheckpointOptions;
  /**
   * `auto` (default) resumes from the newest complete checkpoint of `directory`, if any; `never` refuses a directory with
   * a run; a path resumes from that checkpoint or run.
   */
  resume?: 'auto' | 'never' | (string & {});
  /** Values that must be equal to resume, such as data set, model configuration and seeds. */
  fingerprints?: Readonly<Record<string, string | number>>;
  guard?: GuardOptions;
  /**
   * Scales the loss as PyTorch's GradScaler does, for float16. A step whose scaled gradients overflow is skipped and does
   * not count as an anomaly.
   */
  lossScaling?: boolean;
  /** For `mfu` = flopPerToken · tokens per second / peakFlops; the peak of this machine in FLOP/s. */
  utilisation?: { flopPerToken: number; peakFlops: number };
  /**
   * The ranks that share every step, from `connectRanks`; each calls `train` with the same options. `microBatches` must be a
   * multiple of their number. Only rank 0 writes files and calls `onEvent`. A single process by default.
   */
  ranks?: RankGroup;
  /** ZeRO stage: 1 shards optimizer state over the ranks, 2 also gradients; 0 by default. */
  zeroStage?: ZeroStage;
  /** When aborted, on any rank, the run saves a checkpoint of the last completed step and returns. */
  signal?: AbortSignal;
  /** Called synchronously for every event; must not throw. */
  onEvent?: (event: TrainEvent) => void;
}

/** When and how to create samples. */
export interface SampleOptions {
  /** Between two samples; the last step always has samples. */
  every: Interval;
  /** Returns the rows of a sample, such as generated texts. */
  generate: (step: number) => SampleRows | Promise<SampleRows>;
}

/** Rows of a sample; each becomes a line with `step`. */
export type SampleRows = readonly { [key: string]: Json }[];

/** When and how to save and load. */
export interface CheckpointOptions extends Partial<Retention> {
  /** Steps between two checkpoints; one more follows the last step or an abort. */
  every: number;
  /**
   * Whether to write checkpoints in the background, from a copy of weights and moments that is kept after the first; true
   * by default. Otherwise training waits and nothing is copied.
   */
  background?: boolean;
  /**
   * Writes model, config and tokenizer into an existing directory; weights must be float32 for an exact resume. Tensors
   * passed to the writer are copied and written in the background; training waits for everything else.
   */
  saveModel: SaveModel;
  /** Restores `parameters` from a directory that `saveModel` wrote. */
  loadModel: (directory: string) => void | Promise<void>;
}

/** The result of `train`. */
export interface TrainResult {
  /** `finished` after all steps or by a rule of `stopWhen`, `stopped` if `signal` was aborted. */
  status: 'finished' | 'stopped';
  /** The rule of `stopWhen` that ended the run. */
  stopReason?: string;
  /** Optimizer steps completed. */
  step: number;
  tokens: number;
  /** The checkpoint of this state, if the run saves any. */
  checkpoint?: string;
}

/** @throws TrainerError for invalid counts, intervals, probes and rules */
export function requireCounts<Batch, ValidationBatch>(options: TrainOptions<Batch, ValidationBatch>): void {
  const { steps, microBatches, validation, samples, probes = {}, stopWhen = [], checkpoint } = options;
  const counts = {
    steps,
    microBatches: microBatches ?? 1,
    'checkpoint.every': checkpoint?.every ?? 1,
    'checkpoint.keepLast': checkpoint?.keepLast ?? 1,
    'checkpoint.keepEvery': checkpoint?.keepEvery ?? 1,
  };
  for (const [name, value] of Object.entries(counts)) {
    if (Number.isInteger(value) && value > 0) continue;
    throw new TrainerError(`train: ${name} is ${value}, expected an integer from 1`);
  }
  if (validation) requireInterval('validation.every', validation.every);
  if (samples) requireInterval('samples.every', samples.every);
  requireProbes(probes, stopWhen, validation !== undefined);
  if (!checkpoint?.keepBest) return;
  const between = validation?.every;
  if (typeof between === 'number' && checkpoint.every % between === 0) return;
  throw new TrainerError(
    `train: checkpoint.keepBest with checkpoint.every ${checkpoint.every} and validation.every ${JSON.stringify(between)}, ` +
      'expected a validation at every checkpoint: make one a multiple of the other, in steps',
  );
}
