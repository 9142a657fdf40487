/**
 * Checkpoints: complete or absent, never half.
 *
 *     checkpoints/step-00000100/        what saveModel wrote: a Hugging Face directory
 *       trainer/optimizer.safetensors   the optimizer's tensors
 *       trainer/state.json              counters, data position, guard window, fingerprints
 *       trainer/SHA256SUMS              of every other file; `sha256sum -c trainer/SHA256SUMS` checks it too
 *
 * Written under a hidden name, synced, renamed, parent synced. What a crash leaves has a hidden name.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { openSafetensors, writeSafetensors } from '@meap/safetensors';
import type * as tf from '@tensorflow/tfjs';
import { fileSha256, listFiles, syncDirectory, syncTree } from './durable.ts';
import { CheckpointError, ResumeMismatchError } from './errors.ts';
import type { GuardState } from './guard.ts';
import type { LossScaleState } from './loss-scale.ts';
import { assignBytes, tensorBytes } from './tensor-bytes.ts';
import type { Json } from './types.ts';

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
  /** State of the batch source. */
  data: Json;
  guard: GuardState;
  /** Where the loss is scaled. */
  lossScale?: LossScaleState;
  /** What must be equal to resume: data set, model, seeds. */
  fingerprints: Readonly<Record<string, string | number>>;
  /** SHA-256 over the parameters' names and bytes, to prove that a loaded model is the saved one. */
  weightsSha256: string;
}

/** What {@link saveCheckpoint} writes and where. */
export interface SaveCheckpointOptions {
  /** The `checkpoints` folder of a run. */
  directory: string;
  state: TrainerState;
  optimizerTensors: ReadonlyMap<string, tf.Variable>;
  /** Writes the model into an existing empty directory. */
  saveModel: (directory: string) => void | Promise<void>;
  /** How many of the newest checkpoints stay. */
  keepLast: number;
}

/** A checkpoint that was found complete. */
export interface FoundCheckpoint {
  path: string;
  state: TrainerState;
}

const NAME = /^step-(\d{8,})$/;
const SUMS = 'trainer/SHA256SUMS';
const STATE = 'trainer/state.json';
const OPTIMIZER = 'trainer/optimizer.safetensors';

/** Writes one checkpoint and then deletes those beyond `keepLast`; on failure nothing of it stays. */
export async function saveCheckpoint(options: SaveCheckpointOptions): Promise<string> {
  const { directory, state, optimizerTensors, saveModel, keepLast } = options;
  const name = `step-${String(state.step).padStart(8, '0')}`;
  const path = join(directory, name);
  const partial = join(directory, `.${name}.partial`);
  try {
    await rm(partial, { recursive: true, force: true });
    await mkdir(join(partial, 'trainer'), { recursive: true });
    await saveModel(partial);
    await writeSafetensors(join(partial, OPTIMIZER), optimizerEntries(optimizerTensors));
    await writeFile(join(partial, STATE), `${JSON.stringify(state, null, 2)}\n`);
    await writeFile(join(partial, SUMS), await checksums(partial));
    await syncTree(partial);
    await removeAtomically(path);
    await rename(partial, path);
    await syncDirectory(directory);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw new CheckpointError(`checkpoint ${path}: not saved: ${messageOf(error)}`, { cause: error });
  }
  const kept = (await listCheckpoints(directory)).filter((other) => stepOf(other) <= state.step);
  try {
    for (const old of kept.slice(keepLast)) await removeAtomically(old);
  } catch (error) {
    throw new CheckpointError(
      `checkpoint ${path}: saved, but an older one was not deleted: ${messageOf(error)}`,
    );
  }
  return path;
}

/** Paths of the checkpoints in a `checkpoints` folder, newest first, not looked into. */
export async function listCheckpoints(directory: string): Promise<string[]> {
  if (!existsSync(directory)) return [];
  const names = (await readdir(directory)).filter((name) => NAME.test(name));
  return names.map((name) => join(directory, name)).sort((a, b) => stepOf(b) - stepOf(a));
}

/**
 * The newest complete checkpoint of a `checkpoints` folder; each damaged one is named to `onWarning`.
 *
 * @returns undefined when there is none at all.
 * @throws CheckpointError when there are some and all are damaged: starting over would be a decision.
 */
export async function latestCheckpoint(
  directory: string,
  onWarning: (message: string) => void = console.warn,
): Promise<FoundCheckpoint | undefined> {
  const paths = await listCheckpoints(directory);
  for (const path of paths) {
    try {
      return await openCheckpoint(path);
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      onWarning(`${error.message}; passed over`);
    }
  }
  if (paths.length === 0) return undefined;
  throw new CheckpointError(
    `checkpoints: none of ${paths.length} in ${directory} is complete; restore one, or train in another folder`,
  );
}

/** Checks every file of a checkpoint against its SHA-256 and reads its state. */
export async function openCheckpoint(path: string): Promise<FoundCheckpoint> {
  const damaged = (what: string) => new CheckpointError(`checkpoint ${path} is damaged: ${what}`);
  const text = await readFile(join(path, SUMS), 'utf8').catch(() => {
    throw damaged(`${SUMS} cannot be read`);
  });
  const sums = new Map<string, string>();
  for (const line of text.split('\n').slice(0, -1)) sums.set(line.slice(66), line.slice(0, 64));
  // The sums end with the trainer's files, so a shortened list lacks one of these.
  for (const required of [OPTIMIZER, STATE]) {
    if (!sums.has(required)) throw damaged(`${SUMS} does not list ${required}`);
  }
  for (const [file, expected] of sums) {
    const actual = await fileSha256(join(path, file)).catch(() => {
      throw damaged(`${file} cannot be read`);
    });
    if (actual !== expected) throw damaged(`${file} has SHA-256 ${actual}, expected ${expected}`);
  }
  const state = JSON.parse(await readFile(join(path, STATE), 'utf8')) as TrainerState;
  if (state.formatVersion !== 1) {
    throw new CheckpointError(
      `checkpoint ${path}: trainer format ${state.formatVersion}, expected 1; resume it with the version that wrote it`,
    );
  }
  return { path, state };
}

/** Fills an optimizer's tensors from a checkpoint; throws ResumeMismatchError unless names and shapes are equal. */
export async function loadOptimizerTensors(
  path: string,
  tensors: ReadonlyMap<string, tf.Variable>,
): Promise<void> {
  const file = await openSafetensors(join(path, OPTIMIZER));
  try {
    const describe = (entries: Iterable<[string, { shape: readonly number[] }]>) =>
      [...entries].map(([name, { shape }]) => `${name} [${shape}]`).sort();
    const stored = describe(file.tensors);
    const wanted = describe(tensors);
    const at = stored.findIndex((tensor, i) => tensor !== wanted[i]);
    if (at >= 0 || stored.length !== wanted.length) {
      throw new ResumeMismatchError(
        `resume: the optimizer needs ${wanted[at] ?? 'nothing'} where ${path} has ${stored[at] ?? 'nothing'}: ` +
          'use the optimizer and parameters of that run',
      );
    }
    for (const [name, variable] of tensors) assignBytes(variable, (await file.read(name)).data);
  } finally {
    await file.close();
  }
}

/** Deletes what killed processes left, and sets aside checkpoints later than `step`, returning their names. */
export async function tidyCheckpoints(directory: string, step: number): Promise<string[]> {
  if (!existsSync(directory)) return [];
  for (const name of await readdir(directory)) {
    if (!/^\.step-\d+\.(partial|deleted)$/.test(name)) continue;
    await rm(join(directory, name), { recursive: true, force: true });
  }
  const later = (await listCheckpoints(directory)).filter((path) => stepOf(path) > step);
  for (const path of later) {
    await rm(`${path}.set-aside`, { recursive: true, force: true });
    await rename(path, `${path}.set-aside`);
  }
  return later.map((path) => basename(path));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function stepOf(path: string): number {
  return Number(NAME.exec(basename(path))![1]);
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

function* optimizerEntries(tensors: ReadonlyMap<string, tf.Variable>) {
  for (const [name, variable] of tensors) {
    yield [name, { dtype: 'F32', shape: variable.shape, data: () => tensorBytes(variable) }] as const;
  }
}
