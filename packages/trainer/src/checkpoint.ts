/** Finds, verifies and reads checkpoints; cleans up after a crash. */
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

const MAX_STATE_BYTES = 64 * 2 ** 20;

/** A complete checkpoint. */
export interface FoundCheckpoint {
  path: string;
  state: TrainerState;
}

/**
 * Finds the newest complete checkpoint of a `checkpoints` folder; warns of each damaged one.
 *
 * @returns undefined if there is none.
 * @throws CheckpointError if all are damaged, because starting over must be an explicit decision.
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
      onWarning(`${error.message}; skipped`);
    }
  }
  if (paths.length === 0) return undefined;
  throw new CheckpointError(
    `checkpoints: none of ${paths.length} in ${directory} is complete; restore one, or use another folder`,
  );
}

/** Verifies the SHA-256 of every file of a checkpoint and reads its state. */
export async function openCheckpoint(path: string): Promise<FoundCheckpoint> {
  const damaged = (what: string) => new CheckpointError(`checkpoint ${path} is damaged: ${what}`);
  const text = await readFile(join(path, SUMS), 'utf8').catch(() => {
    throw damaged(`${SUMS} cannot be read`);
  });
  const sums = new Map<string, string>();
  for (const line of text.split('\n').slice(0, -1)) {
    const [, sum, file] = /^([0-9a-f]{64}) {2}(.+)$/.exec(line) ?? [];
    if (!file) throw damaged(`${SUMS} has an invalid line`);
    sums.set(file, sum);
  }
  // The trainer's files come last, so that a truncated list lacks one of them.
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
    throw damaged(`${STATE} is of step ${state.step}, expected ${named} as in the name of its folder`);
  return { path, state };
}

/**
 * Reads an optimizer's tensors from a checkpoint one by one, in the order of `tensors`.
 *
 * @throws ResumeMismatchError if names or shapes differ
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
      // A copy, because the bytes may be unaligned in a larger buffer.
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

/** Deletes leftovers of killed processes and renames checkpoints later than `step`; returns their names. */
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
