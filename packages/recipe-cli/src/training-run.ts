/** The steps of a run that all training programs share. */

import { counted } from '@meap/dashboard';
import {
  type CheckpointOptions,
  type Json,
  RankGroup,
  type TrainEvent,
  type TrainOptions,
  type TrainResult,
  train,
  writeEnvironment,
} from '@meap/trainer';
import { type BatchLogOptions, logBatches } from './batch-log.ts';
import { changedFiles, type DataFile, describeRepeated, writeFileList } from './data-files.ts';
import type { MemoryPlan } from './memory-plan.ts';
import { openRunDirectory, writeConfig } from './run-directory.ts';
import type { RunOptions } from './training-command.ts';

/** {@link RunOptions} with every default filled in. */
export interface TrainingRun<Event> {
  out: string;
  resume: string;
  ranks: RankGroup;
  signal: AbortSignal | undefined;
  /** Passes an event to `onEvent`. */
  emit: (event: Event | TrainEvent) => void;
  /** Emits a warning. */
  warn: (message: string) => void;
}

/**
 * Begins a run: rank 0 opens its directory.
 *
 * @throws RunError as `openRunDirectory`
 */
export async function beginRun<Event>({
  out,
  resume = 'auto',
  ranks = new RankGroup(),
  signal,
  onEvent = () => {},
}: RunOptions<Event>): Promise<TrainingRun<Event>> {
  await ranks.onFirst(() => openRunDirectory(out, resume));
  const emit = onEvent as TrainingRun<Event>['emit'];
  return { out, resume, ranks, signal, emit, warn: (message) => emit({ type: 'warning', message }) };
}

/** Returns what `work` returns, or undefined where it threw because the signal was aborted. */
export async function unlessAborted<T>(
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (signal?.aborted) return undefined;
    throw error;
  }
}

/** Facts about the data of a run that lead to warnings. */
export interface DataNotices {
  skipped: { count: number; first?: string };
  repeatedFiles: readonly string[];
  files: readonly DataFile[];
}

/** Warns of skipped records, of files named twice, and of files that changed since the run began. */
export function warnOfData(
  { out, warn }: Pick<TrainingRun<never>, 'out' | 'warn'>,
  { skipped: { count, first }, repeatedFiles, files }: DataNotices,
): void {
  if (count > 0) warn(`data: ${counted(count, 'bad record')} skipped, the first: ${first}`);
  if (repeatedFiles.length > 0) warn(describeRepeated(repeatedFiles));
  for (const change of changedFiles(out, files)) warn(`data changed since this run began: ${change}`);
}

/** The options of `train` that a program determines; it saves checkpoints. */
export type TrainingParts<Batch, ValidationBatch = Batch> = Omit<
  TrainOptions<Batch, ValidationBatch>,
  'directory' | 'resume' | 'ranks' | 'signal' | 'onEvent'
> & { checkpoint: CheckpointOptions };

/** What {@link runTraining} writes into the run directory beside the files of `train`. */
export interface RunRecords<Batch> extends Omit<BatchLogOptions<Batch>, 'directory'> {
  config: object;
  files: readonly DataFile[];
  /** Entries of `environment.json`. */
  environment: { [key: string]: Json };
  memory: MemoryPlan;
  /** Called on rank 0 when the directory is locked, so that no other process's files are overwritten. */
  onStart?: () => void;
}

/** Trains; writes `config.yaml`, `data-files.json`, `environment.json` and `batch.json`. */
export async function runTraining<Batch, ValidationBatch, Event>(
  { out, resume, ranks, signal, emit, warn }: TrainingRun<Event>,
  parts: TrainingParts<Batch, ValidationBatch>,
  { config, files, environment, memory, onStart, ...shown }: RunRecords<Batch>,
): Promise<TrainResult> {
  const log = logBatches(parts.batches, { directory: out, ...shown });
  const begin = (step: number) => {
    const changes = writeConfig(out, config);
    writeFileList(out, files);
    if (step > 0) for (const change of changes) warn(`configuration changed since this run began: ${change}`);
    writeEnvironment(out, environment);
    onStart?.();
  };
  const result = await train({
    ...parts,
    batches: ranks.isFirst ? log.batches : parts.batches,
    checkpoint: { ...parts.checkpoint, background: memory.checkpointCopy > 0 },
    directory: out,
    resume,
    ranks,
    signal,
    onEvent: (event) => {
      if (event.type === 'start') begin(event.step);
      emit(event);
    },
  });
  await log.settled();
  return result;
}
