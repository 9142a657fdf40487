/**
 * Checkpoints: complete or absent, never half.
 *
 *     checkpoints/step-00000100/        what saveModel wrote: a Hugging Face directory
 *       trainer/optimizer.safetensors   the optimizer's tensors
 *       trainer/state.json              counters, guard window, fingerprints
 *       trainer/SHA256SUMS              of every other file; `sha256sum -c trainer/SHA256SUMS` checks it too
 *
 * Written under a hidden name, synced, renamed, parent synced. What a crash leaves has a hidden name.
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

/** Everything about a run that is not a tensor; `trainer/state.json` of a checkpoint. */
export interface TrainerState {
  formatVersion: 1;
  /** Optimizer steps completed. */
  step: number;
  /** Tokens processed. */
  tokens: number;
  /** Updates applied, which skipped steps are not. */
  optimizerStep: number;
  /** Last step whose validation and samples are in the logs. */
  validatedStep: number;
  sampledStep: number;
  /** Validation loss at this very step; absent where there was none. */
  valLoss?: number;
  guard: GuardState;
  /** Where the loss is scaled. */
  lossScale?: LossScaleState;
  /** What must be equal to resume: data set, model, seeds. */
  fingerprints: Readonly<Record<string, string | number>>;
  /** What computed it; a change is said. Absent in checkpoints of earlier versions. */
  numerics?: Numerics;
  /** SHA-256 over the parameters' names and bytes, to prove that a loaded model is the saved one. */
  weightsSha256: string;
}

/** Which checkpoints stay when a newer one is complete. */
export interface Retention {
  /** How many of the newest. */
  keepLast: number;
  /** Also those whose step is a multiple of this. */
  keepEvery?: number;
  /** Also the one with the lowest validation loss. */
  keepBest?: boolean;
}

/** A file of tensors, or with `sharded` the files of a model in a folder. */
export interface TensorFile {
  path: string;
  tensors: readonly (readonly [string, WritableTensor])[];
  sharded: boolean;
  options: { metadata?: Readonly<Record<string, string>>; maxShardBytes?: number };
}

/** A checkpoint to write: plain data, so that it can go to another thread. */
export interface CheckpointJob extends Retention {
  /** The `checkpoints` folder of a run. */
  directory: string;
  state: TrainerState;
  files: readonly TensorFile[];
  /** Logs that have to be on the disk first: no checkpoint may be ahead of them. */
  logs: readonly string[];
  /** The run's lock, which has to be held when the checkpoint gets its name. */
  lock: LockMark;
}

const NAME = /^step-(\d{8,})$/;
export const SUMS = 'trainer/SHA256SUMS';
export const STATE = 'trainer/state.json';
export const OPTIMIZER = 'trainer/optimizer.safetensors';

/** Where a checkpoint is written before it gets its name. */
function partialPath(directory: string, step: number): string {
  return join(directory, `.${stepDirectory(step)}.partial`);
}

/** Makes the folder that a checkpoint is written into, in place of what a crash left there. */
export async function openPartial(directory: string, step: number): Promise<string> {
  const partial = partialPath(directory, step);
  await rm(partial, { recursive: true, force: true });
  // Not with its parents: a run directory that vanished must not come back with nothing else in it.
  if (!existsSync(directory)) await mkdir(directory);
  for (const path of [partial, join(partial, 'trainer')]) await mkdir(path);
  return partial;
}

/**
 * Completes an {@link openPartial} checkpoint and then deletes those that need not stay; returns its path.
 *
 * @throws CheckpointError; nothing of the checkpoint then stays
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

/** Clears away what there is of a checkpoint that failed, and makes the error that says so. */
export async function notSaved(directory: string, step: number, cause: unknown): Promise<CheckpointError> {
  const path = join(directory, stepDirectory(step));
  // What another process has taken over is its own now.
  if (cause instanceof RunLockedError) return new CheckpointError(messageOf(cause), { cause });
  // A folder that cannot be written cannot be cleared either; the next run tidies up.
  await rm(partialPath(directory, step), { recursive: true, force: true }).catch(() => {});
  return new CheckpointError(`checkpoint ${path}: not saved: ${messageOf(cause)}`, { cause });
}

/** Deletes the checkpoints up to this one's step that nothing keeps. */
async function prune({ directory, state, keepLast, keepEvery, keepBest }: CheckpointJob): Promise<void> {
  const earlier = (await listCheckpoints(directory)).filter((path) => stepOf(path) <= state.step);
  const best = keepBest ? await bestOf(earlier) : undefined;
  for (const path of earlier.slice(keepLast)) {
    if (path === best || (keepEvery && stepOf(path) % keepEvery === 0)) continue;
    await removeAtomically(path);
  }
}

/** The checkpoint with the lowest validation loss, the newest of equals; undefined where none was validated. */
export async function bestCheckpoint(directory: string): Promise<string | undefined> {
  return bestOf(await listCheckpoints(directory));
}

async function bestOf(paths: readonly string[]): Promise<string | undefined> {
  let best: { path: string; valLoss: number } | undefined;
  for (const path of paths) {
    // A damaged one is the best of nothing.
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

/** Paths of the checkpoints in a `checkpoints` folder, newest first, not looked into. */
export async function listCheckpoints(directory: string): Promise<string[]> {
  if (!existsSync(directory)) return [];
  const names = (await readdir(directory)).filter((name) => NAME.test(name));
  return names.map((name) => join(directory, name)).sort((a, b) => stepOf(b) - stepOf(a));
}

/** Whether a folder is named as checkpoints are; one may be copied to any other name. */
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

/** Renames first: a crash in the middle of deleting must not leave something that looks like a checkpoint. */
async function removeAtomically(path: string): Promise<void> {
  if (!existsSync(path)) return;
  const doomed = join(path, '..', `.${basename(path)}.deleted`);
  await rm(doomed, { recursive: true, force: true });
  await rename(path, doomed);
  await rm(doomed, { recursive: true, force: true });
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
