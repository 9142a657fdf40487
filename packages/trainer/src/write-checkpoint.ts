/**
 * Writes checkpoints atomically.
 *
 *     checkpoints/step-00000100/        files of saveModel: a Hugging Face directory
 *       trainer/optimizer.safetensors   the optimizer's tensors
 *       trainer/state.json              counters, guard window, fingerprints
 *       trainer/SHA256SUMS              of every other file; also for `sha256sum -c trainer/SHA256SUMS`
 *
 * A checkpoint is written under a hidden name, synced and renamed; then its parent is synced. A crash leaves only hidden
 * names.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { syncDirectory } from '@meap/files';
import { type WritableTensor, writeSafetensors, writeShardedSafetensors } from '@meap/safetensors';
import { fileSha256, listFiles, syncFile, syncTree } from './durable.ts';
import { CheckpointError, RunLockedError } from './errors.ts';
import type { GuardState } from './guard.ts';
import { type LockMark, requireMark } from './lock.ts';
import type { LossScaleState } from './loss-scale.ts';
import type { Numerics } from './numerics.ts';

/** The state of a run besides its tensors; `trainer/state.json` of a checkpoint. */
export interface TrainerState {
  formatVersion: 1;
  /** Optimizer steps completed. */
  step: number;
  /** Tokens processed. */
  tokens: number;
  /** Updates applied, without skipped steps. */
  optimizerStep: number;
  /** Tokens of the last step. */
  stepTokens?: number;
  /** Last steps whose validation, samples and probes are in the logs; of no probes, undefined. */
  validatedStep: number;
  sampledStep: number;
  probedStep?: number;
  /** Measurements in a row for which each rule of `stopWhen` has held. */
  held?: readonly number[];
  /** The rule of `stopWhen` that ended the run. */
  stopReason?: string;
  /** Validation loss at this step, if any. */
  valLoss?: number;
  guard: GuardState;
  /** With loss scaling. */
  lossScale?: LossScaleState;
  /** Values that must be equal to resume, such as data set, model, seeds. */
  fingerprints: Readonly<Record<string, string | number>>;
  /** What the bytes depend on; changes are reported. Absent in checkpoints of earlier versions. */
  numerics?: Numerics;
  /** SHA-256 of the parameters' names and bytes, to verify a loaded model. */
  weightsSha256: string;
}

/** Which checkpoints to keep. */
export interface Retention {
  /** Number of newest checkpoints. */
  keepLast: number;
  /** Also checkpoints whose step is a multiple of this. */
  keepEvery?: number;
  /** Also the checkpoint with the lowest validation loss. */
  keepBest?: boolean;
}

/** A file of tensors, or with `sharded` a folder of model files. */
export interface TensorFile {
  path: string;
  tensors: readonly (readonly [string, WritableTensor])[];
  sharded: boolean;
  options: { metadata?: Readonly<Record<string, string>>; maxShardBytes?: number };
}

/** A checkpoint to write; plain data for another thread. */
export interface CheckpointJob extends Retention {
  /** The `checkpoints` folder of a run. */
  directory: string;
  state: TrainerState;
  files: readonly TensorFile[];
  /** Logs to sync first: no checkpoint may be ahead of them. */
  logs: readonly string[];
  /** The run's lock, which must be held when the checkpoint is renamed. */
  lock: LockMark;
}

const NAME = /^step-(\d{8,})$/;
export const SUMS = 'trainer/SHA256SUMS';
export const STATE = 'trainer/state.json';
export const OPTIMIZER = 'trainer/optimizer.safetensors';

/** Returns the path of an unfinished checkpoint. */
function partialPath(directory: string, step: number): string {
  return join(directory, `.${stepDirectory(step)}.partial`);
}

/** Creates the folder of an unfinished checkpoint; removes what a crash left there. */
export async function openPartial(directory: string, step: number): Promise<string> {
  const partial = partialPath(directory, step);
  await rm(partial, { recursive: true, force: true });
  // Without parents: a deleted run directory must not be recreated.
  if (!existsSync(directory)) await mkdir(directory);
  for (const path of [partial, join(partial, 'trainer')]) await mkdir(path);
  return partial;
}

/**
 * Completes an {@link openPartial} checkpoint, deletes checkpoints that are not kept, and returns the path.
 *
 * @throws CheckpointError; the unfinished checkpoint is then removed
 */
export async function writeCheckpoint(job: CheckpointJob): Promise<string> {
  const { directory, state, files, logs, lock } = job;
  const path = join(directory, stepDirectory(state.step));
  const partial = partialPath(directory, state.step);
  try {
    for (const log of logs) await syncFile(log);
    for (const { path: file, tensors, sharded, options } of files) {
      requireMark(lock);
      await (sharded ? writeShardedSafetensors : writeSafetensors)(file, tensors, options);
    }
    requireMark(lock);
    await writeFile(join(partial, STATE), `${JSON.stringify(state, null, 2)}\n`);
    await writeFile(join(partial, SUMS), await checksums(partial));
    await syncTree(partial);
    requireMark(lock);
    await removeAtomically(path);
    await rename(partial, path);
    syncDirectory(directory);
  } catch (error) {
    throw await notSaved(directory, state.step, error);
  }
  try {
    await prune(job);
  } catch (error) {
    throw new CheckpointError(
      `checkpoint ${path}: saved, but an older one was not deleted: ${messageOf(error)}`,
    );
  }
  return path;
}

/** Removes an unfinished checkpoint and returns the error. */
export async function notSaved(directory: string, step: number, cause: unknown): Promise<CheckpointError> {
  const path = join(directory, stepDirectory(step));
  // The folder now belongs to another process.
  if (cause instanceof RunLockedError) return new CheckpointError(messageOf(cause), { cause });
  // If the folder is not writable, the next run cleans up.
  await rm(partialPath(directory, step), { recursive: true, force: true }).catch(() => {});
  return new CheckpointError(`checkpoint ${path}: not saved: ${messageOf(cause)}`, { cause });
}

/** Deletes checkpoints up to this step that are not kept. */
async function prune({ directory, state, keepLast, keepEvery, keepBest }: CheckpointJob): Promise<void> {
  const earlier = (await listCheckpoints(directory)).filter((path) => stepOf(path) <= state.step);
  const best = keepBest ? await bestOf(earlier) : undefined;
  for (const path of earlier.slice(keepLast)) {
    if (path === best || (keepEvery && stepOf(path) % keepEvery === 0)) continue;
    await removeAtomically(path);
  }
}

/** Finds the checkpoint with the lowest validation loss, the newest of equals; undefined if none was validated. */
export async function bestCheckpoint(directory: string): Promise<string | undefined> {
  return bestOf(await listCheckpoints(directory));
}

async function bestOf(paths: readonly string[]): Promise<string | undefined> {
  let best: { path: string; valLoss: number } | undefined;
  for (const path of paths) {
    // Damaged checkpoints are skipped.
    const text = await readFile(join(path, STATE), 'utf8').catch(() => 'null');
    let state: Partial<TrainerState> | null = null;
    try {
      state = JSON.parse(text);
    } catch {}
    const valLoss = state?.valLoss;
    if (typeof valLoss === 'number' && valLoss < (best?.valLoss ?? Number.POSITIVE_INFINITY)) {
      best = { path, valLoss };
    }
  }
  return best?.path;
}

/** Lists the checkpoints of a `checkpoints` folder, newest first, without verification. */
export async function listCheckpoints(directory: string): Promise<string[]> {
  if (!existsSync(directory)) return [];
  const names = (await readdir(directory)).filter((name) => NAME.test(name));
  return names.map((name) => join(directory, name)).sort((a, b) => stepOf(b) - stepOf(a));
}

/** Whether a folder has the name of a checkpoint; copies may have any name. */
export function isCheckpointName(path: string): boolean {
  return NAME.test(basename(path));
}

/** The step in the name of a checkpoint directory, such as 100 in `step-00000100`. */
export function stepOf(path: string): number {
  return Number(NAME.exec(basename(path))![1]);
}

/** The name of a checkpoint directory, such as `step-00000100`. */
export function stepDirectory(step: number): string {
  return `step-${String(step).padStart(8, '0')}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Renames before deleting: a crash must not leave a partial folder with the name of a checkpoint. */
async function removeAtomically(path: string): Promise<void> {
  if (!existsSync(path)) return;
  const deleted = join(path, '..', `.${basename(path)}.deleted`);
  await rm(deleted, { recursive: true, force: true });
  await rename(path, deleted);
  await rm(deleted, { recursive: true, force: true });
}

async function checksums(directory: string): Promise<string> {
  const files = (await listFiles(directory)).filter(
    (file) => file !== SUMS && file !== OPTIMIZER && file !== STATE,
  );
  let lines = '';
  for (const file of [...files, OPTIMIZER, STATE]) {
    lines += `${await fileSha256(join(directory, file))}  ${file}\n`;
  }
  return lines;
}
