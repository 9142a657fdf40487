import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type FoundCheckpoint, latestCheckpoint, openCheckpoint } from './checkpoint.ts';
import { ResumeMismatchError, RunExistsError } from './errors.ts';
import { parametersSha256 } from './tensor-bytes.ts';
import type { Parameters } from './types.ts';
import { listCheckpoints } from './write-checkpoint.ts';

/** Finds the checkpoint for `resume`; undefined for a new run. */
export async function findCheckpoint(
  directory: string,
  resume: string,
  onWarning: (message: string) => void,
): Promise<FoundCheckpoint | undefined> {
  const own = join(directory, 'checkpoints');
  if (resume === 'auto') return latestCheckpoint(own, onWarning);
  if (resume !== 'never') {
    const isRun = existsSync(join(resume, 'checkpoints'));
    return isRun ? latestCheckpoint(join(resume, 'checkpoints'), onWarning) : openCheckpoint(resume);
  }
  const metrics = statSync(join(directory, 'metrics.jsonl'), { throwIfNoEntry: false });
  if ((await listCheckpoints(own)).length > 0 || metrics?.size) {
    throw new RunExistsError(
      `train: ${directory} already has a run, expected an empty folder: resume with 'auto', or choose another`,
    );
  }
  return undefined;
}

/** @throws ResumeMismatchError if a fingerprint differs */
export function requireSameRun(
  { path, state }: FoundCheckpoint,
  fingerprints: Readonly<Record<string, string | number>>,
): void {
  for (const name of new Set([...Object.keys(state.fingerprints), ...Object.keys(fingerprints)])) {
    if (state.fingerprints[name] === fingerprints[name]) continue;
    throw new ResumeMismatchError(
      `resume: ${name} differs from the run of ${path}, got ${fingerprints[name] ?? 'none'}, ` +
        `expected ${state.fingerprints[name] ?? 'none'}: use the same ${name}, or start a new run`,
    );
  }
}

/** @throws ResumeMismatchError unless the loaded parameters equal the saved ones byte for byte */
export async function requireSameWeights(
  { path, state }: FoundCheckpoint,
  parameters: Parameters,
): Promise<void> {
  const sha256 = await parametersSha256(parameters);
  if (sha256 === state.weightsSha256) return;
  throw new ResumeMismatchError(
    `resume: the weights loaded from ${path} have SHA-256 ${sha256}, expected ${state.weightsSha256}: ` +
      'saveModel must write and loadModel must restore every parameter in float32',
  );
}
