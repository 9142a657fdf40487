/** Checkpoints as they are found: which is the newest complete one, what is in it, what a crash left. */
import { existsSync } from 'node:fs';
import { readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { openSafetensors, readJsonFile } from '@meap/safetensors';
import { fileSha256 } from './durable.ts';
import { CheckpointError, ResumeMismatchError } from './errors.ts';
import { parseTrainerState } from './trainer-state.ts';
import {
  isCheckpointName,
  listCheckpoints,
  OPTIMIZER,
  STATE,
  SUMS,
  stepOf,
  type TrainerState,
} from './write-checkpoint.ts';

/** The position of the batches may be of any size that its source likes. */
const MAX_STATE_BYTES = 64 * 2 ** 20;

/** A checkpoint that was found complete. */
export interface FoundCheckpoint {
  path: string;
  state: TrainerState;
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
  for (const line of text.split('\n').slice(0, -1)) {
    const [, sum, file] = /^([0-9a-f]{64}) {2}(.+)$/.exec(line) ?? [];
    if (!file) throw damaged(`${SUMS} has a line that is no sum`);
    sums.set(file, sum);
  }
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
  let found: unknown;
  try {
    found = readJsonFile(join(path, STATE), MAX_STATE_BYTES);
  } catch (error) {
    throw damaged((error as Error).message);
  }
  const version = (found as Partial<TrainerState> | null)?.formatVersion;
  if (typeof version === 'number' && version !== 1) {
    throw new CheckpointError(
      `checkpoint ${path}: trainer format ${version}, expected 1; resume it with the version that wrote it`,
    );
  }
  let state: TrainerState;
  try {
    state = parseTrainerState(found);
  } catch (error) {
    throw damaged(`${STATE}: ${(error as Error).message}`);
  }
  const named = isCheckpointName(path) ? stepOf(path) : state.step;
  if (named !== state.step)
    throw damaged(`${STATE} is of step ${state.step}, expected ${named} as its folder says`);
  return { path, state };
}

/**
 * Reads an optimizer's tensors from a checkpoint, one after another in the order of `tensors`.
 *
 * @throws ResumeMismatchError unless names and shapes are equal
 */
export async function readOptimizerTensors(
  path: string,
  tensors: readonly { name: string; shape: readonly number[] }[],
  take: (index: number, values: Float32Array) => void | Promise<void>,
): Promise<void> {
  const file = await openSafetensors(join(path, OPTIMIZER));
  try {
    const describe = (entries: Iterable<{ name: string; shape: readonly number[]; dtype?: string }>) =>
      Array.from(entries, ({ name, shape, dtype = 'F32' }) => `${name} ${dtype} [${shape}]`).sort();
    const stored = describe(Array.from(file.tensors, ([name, { shape, dtype }]) => ({ name, shape, dtype })));
    const wanted = describe(tensors);
    const at = stored.findIndex((tensor, i) => tensor !== wanted[i]);
    if (at >= 0 || stored.length !== wanted.length) {
      throw new ResumeMismatchError(
        `resume: the optimizer needs ${wanted[at] ?? 'nothing'} where ${path} has ${stored[at] ?? 'nothing'}: ` +
          'use the optimizer and parameters of that run',
      );
    }
    for (const [i, { name }] of tensors.entries()) {
      const { data } = await file.read(name);
      // A copy: the bytes may lie unaligned in a larger buffer.
      const values = new Float32Array(data.slice().buffer);
      if (values.some(Number.isNaN)) {
        throw new CheckpointError(
          `checkpoint ${path}: ${name} of the optimizer holds NaN, expected numbers: resume from an earlier one`,
        );
      }
      await take(i, values);
    }
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
