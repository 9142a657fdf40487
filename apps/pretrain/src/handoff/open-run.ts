/** Opens a run at one of its checkpoints, ready for its next step. */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { Llama, loadLlama } from '@meap/llama-model';
import { changedFiles, RunError, unlessAborted } from '@meap/recipe-cli';
import { type FoundCheckpoint, latestCheckpoint, openCheckpoint, requireSameRun } from '@meap/trainer';
import { loadConfig } from '../load-config.ts';
import type { PretrainConfig } from '../resolve-config.ts';
import { modelConfig } from '../training/model.ts';
import { type DataProgress, type PreparedData, prepareData } from '../training/prepare-data.ts';
import { trainingParts } from '../training/training-parts.ts';

/** A run and the checkpoint to export. */
export interface FoundRun {
  directory: string;
  checkpoint: FoundCheckpoint;
  config: PretrainConfig;
}

/** A run that is ready for its next step. */
export interface OpenRun extends FoundRun {
  model: Llama;
  data: PreparedData;
  parts: Awaited<ReturnType<typeof trainingParts>>;
  close(): void;
}

/**
 * Finds a run by its directory (its newest complete checkpoint) or by one of its checkpoints.
 *
 * @throws RunError if there is no run or checkpoint, CheckpointError if the checkpoint is damaged
 */
export async function findRun(path: string, onWarning: (message: string) => void): Promise<FoundRun> {
  const isCheckpoint = existsSync(join(path, 'trainer/state.json'));
  const directory = isCheckpoint ? dirname(dirname(resolve(path))) : path;
  if (!existsSync(directory)) {
    throw new RunError(`--run ${path}: no such folder, expected a run of meap-pretrain`);
  }
  const recipe = join(directory, 'config.yaml');
  if (!existsSync(recipe)) {
    throw new RunError(`--run ${path}: no config.yaml in ${directory}, expected a run of meap-pretrain`);
  }
  const checkpoint = isCheckpoint
    ? await openCheckpoint(path)
    : await latestCheckpoint(join(directory, 'checkpoints'), onWarning);
  if (!checkpoint) {
    throw new RunError(
      `--run ${path}: got no checkpoint, expected at least one; continue the run until it saves one`,
    );
  }
  return { directory, checkpoint, config: loadConfig(recipe) };
}

/**
 * Opens data and model of a run at its checkpoint, and verifies their fingerprints.
 *
 * @returns undefined when `signal` is aborted
 * @throws ResumeMismatchError if data, tokenizer or recipe differ from those of the run; errors of `prepareData`
 */
export async function openRun(
  found: FoundRun,
  options: {
    signal?: AbortSignal;
    onData: (progress: DataProgress) => void;
    onWarning: (message: string) => void;
  },
): Promise<OpenRun | undefined> {
  const { directory, checkpoint, config } = found;
  const { signal, onData, onWarning } = options;
  const data = await unlessAborted(signal, () => prepareData(config, onData, signal));
  if (!data) return undefined;
  let model: Llama | undefined;
  const close = () => {
    model?.dispose();
    data.close();
  };
  try {
    for (const change of changedFiles(directory, data.files))
      onWarning(`data changed since the run: ${change}`);
    const loaded = await loadLlama(checkpoint.path);
    model = new Llama(modelConfig(config, data.tokenizer), loaded.parameters);
    const parts = await trainingParts(config, model, data, 1);
    requireSameRun(checkpoint, parts.fingerprints!);
    return { ...found, model, data, parts, close };
  } catch (error) {
    close();
    throw error;
  }
}
