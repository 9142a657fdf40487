/** What `train` is given and returns. */

import type { SaveModel } from './checkpoint-saver.ts';
import type { ZeroStage } from './data-parallel.ts';
import { TrainerError } from './errors.ts';
import type { GuardOptions } from './guard.ts';
import type { Optimizer } from './optimizer.ts';
import type { RankGroup } from './rank-group.ts';
import type { Schedule } from './schedules.ts';
import type { BatchSource, Json, Loss, Parameters, TrainEvent } from './types.ts';
import type { ValidationOptions } from './validation.ts';
import type { Retention } from './write-checkpoint.ts';

/** Options of `train`; batches to validate on may be of another type. */
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
  /** ZeRO stage: 1 shards optimizer state over the ranks, 2 also gradients; 0 unless given. */
  zeroStage?: ZeroStage;
  /** When aborted, on any rank, the run saves a checkpoint of the last completed step and returns. */
  signal?: AbortSignal;
  /** Called at once for everything that happens; it must not throw. */
  onEvent?: (event: TrainEvent) => void;
}

/** When and how `train` makes samples. */
export interface SampleOptions {
  /** Steps between two samples; the last step always has one. */
  every: number;
  /** Makes the rows of one sample, such as generated texts. */
  generate: (step: number) => SampleRows | Promise<SampleRows>;
}

/** Rows a sample callback returns; each becomes a line, after `step`. */
export type SampleRows = readonly { [key: string]: Json }[];

/** How `train` saves and loads. */
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

/** How a call of `train` ended. */
export interface TrainResult {
  /** Whether all steps are done, or `signal` was aborted. */
  status: 'finished' | 'stopped';
  /** Optimizer steps completed. */
  step: number;
  tokens: number;
  /** The checkpoint that holds exactly this state. */
  checkpoint: string;
}

/** Refuses counts and intervals that mean nothing. */
export function requireCounts<Batch, ValidationBatch>(options: TrainOptions<Batch, ValidationBatch>): void {
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
