/**
 * A hand-off: everything another program needs to continue a run.
 *
 *     handoff.json                 contents, checksums and expected losses
 *     model/                       config, weights and tokenizer in Hugging Face's format
 *     optimizer.safetensors        AdamW's moments, named like the weights
 *     learning_rates.npy           the learning rate of each exported step
 *     train/, validation/          token rows (rows.ts)
 *     check.py, handoff_rows.py, torchtitan_meap.py, README.md
 *
 * It is written under a hidden name and renamed when complete.
 */
import { existsSync, readdirSync } from 'node:fs';
import { copyFile, cp, mkdir, readdir, rename, rm, rmdir, statfs, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { packageFolder } from '@meap/files';
import { countParameters, type LlamaConfig } from '@meap/llama-model';
import { batchPlan, bytes, packageVersion, RunError, reasonOf, runSeeds } from '@meap/recipe-cli';
import { type BackendDescription, setBackend, setPrecision } from '@meap/tensor-kernels';
import { acquireLock, fileSha256, type RunLock } from '@meap/trainer';
import { configuredMasker } from '../training/objective.ts';
import type { DataProgress } from '../training/prepare-data.ts';
import { type Expected, measureExpected } from './expected-losses.ts';
import { NpyWriter, npyBytes, type WrittenFile } from './npy.ts';
import { findRun, type OpenRun, openRun } from './open-run.ts';
import { RowWriter, tokenDtype, trainRows, writeValidationRows } from './rows.ts';

/** Options of {@link writeHandoff}. */
export interface HandoffOptions {
  /** A run of meap-pretrain, or one of its checkpoints. */
  run: string;
  /** The folder to write; must be missing or empty. */
  out: string;
  /** Steps to export; default: the remaining ones, or {@link FURTHER_STEPS} of a finished run. */
  steps?: number;
  /** Steps to run and record the losses of, for `check.py`; at most `steps`. */
  checkSteps: number;
  /** Maximum bytes of a file of rows. */
  shardBytes?: number;
  signal?: AbortSignal;
  /** Called synchronously for each event; must not throw. */
  onEvent?: (event: HandoffEvent) => void;
}

/** Events of {@link writeHandoff}. */
export type HandoffEvent =
  | ({ type: 'backend' } & BackendDescription)
  | ({ type: 'data' } & DataProgress)
  | { type: 'measuring'; steps: number }
  | { type: 'rows'; step: number; done: number; steps: number }
  | { type: 'warning'; message: string };

/** Summary of a written hand-off. */
export interface HandoffSummary {
  checkpoint: string;
  model: LlamaConfig;
  parameters: number;
  firstStep: number;
  steps: number;
  rows: number;
  /** Share of masked input tokens. */
  masked: number;
  /** Epochs begun when the last row is drawn. */
  passes: number;
  validationRows: number;
  expected: Expected;
}

/** Default number of exported steps after a finished run. */
export const FURTHER_STEPS = 100;

const SHARD_BYTES = 256 * 1024 * 1024;
/** Scripts and README that every hand-off gets. */
const FILES = join(packageFolder(import.meta.url), 'handoff');

/**
 * Writes a hand-off of a run. Leaves no files when it is aborted or throws.
 *
 * @returns undefined when `signal` is aborted
 * @throws RunError, and errors of {@link openRun}
 */
export async function writeHandoff(options: HandoffOptions): Promise<HandoffSummary | undefined> {
  const { out, signal } = options;
  const emit = options.onEvent ?? (() => {});
  const onWarning = (message: string) => emit({ type: 'warning', message });
  requireEmpty(out);
  const found = await findRun(options.run, onWarning);
  const { dropout, optim, z_loss } = found.config.train;
  if (optim !== 'adamw') {
    throw new RunError(
      `--run ${options.run}: got a run with train.optim ${optim}, expected adamw: the programs that continue a hand-off have ` +
        'no other optimizer',
    );
  }
  if (z_loss > 0) {
    throw new RunError(
      `--run ${options.run}: got a run with train.z_loss ${z_loss}, expected 0: the programs that continue a hand-off have no ` +
        'z-loss, so gradients would differ',
    );
  }
  if (dropout > 0) {
    throw new RunError(
      `--run ${options.run}: got a run with train.dropout ${dropout}, expected none: the programs that continue a ` +
        'hand-off have no dropout, so losses would differ',
    );
  }
  // The expected losses are a float32 reference.
  setPrecision('float32');
  emit({ type: 'backend', ...(await setBackend(found.config.backend)) });
  const onData = (progress: DataProgress) => emit({ type: 'data', ...progress });
  const run = await openRun(found, { signal, onData, onWarning });
  if (!run) return undefined;
  const partial = join(dirname(resolve(out)), `.${basename(resolve(out))}.partial`);
  let lock: RunLock | undefined;
  try {
    lock = await acquireLock(partial, { onWait: onWarning, signal });
    for (const name of await readdir(partial)) {
      // Left by a killed process.
      if (!name.startsWith('run.lock')) await rm(join(partial, name), { recursive: true });
    }
    const summary = await fill(partial, run, options, emit);
    if (!summary) return undefined;
    lock.release();
    await putInPlace(partial, out);
    return summary;
  } finally {
    lock?.release();
    if (lock) await rm(partial, { recursive: true, force: true });
    run.close();
  }
}

async function fill(
  folder: string,
  run: OpenRun,
  { checkSteps, signal, shardBytes = SHARD_BYTES, ...options }: HandoffOptions,
  emit: (event: HandoffEvent) => void,
): Promise<HandoffSummary | undefined> {
  const { config, checkpoint, data, parts, model } = run;
  const { train, masking } = config;
  const firstStep = checkpoint.state.step;
  const steps = options.steps ?? (Math.max(0, train.max_steps - firstStep) || FURTHER_STEPS);
  const length = train.sequence_length;
  const rows = steps * train.global_batch_size;
  const dtype = tokenDtype(model.config.vocab_size);
  await requireSpace(folder, 2 * rows * length * npyBytes(dtype) + 3 * 4 * countParameters(model.config));

  const measured = Math.min(checkSteps, steps);
  emit({ type: 'measuring', steps: measured });
  const scratch = join(folder, 'scratch');
  const expected = await measureExpected(run, measured, scratch, signal);
  await rm(scratch, { recursive: true, force: true });
  if (!expected) return undefined;

  for (const name of ['train', 'validation']) await mkdir(join(folder, name));
  const masker = configuredMasker(config, data.tokenizer);
  const writer = new RowWriter(join(folder, 'train'), { rows, length, dtype, shardBytes });
  let numMasked = 0;
  try {
    const source = { batches: parts.batches, masker, microBatches: parts.microBatches!, firstStep, steps };
    for await (const { position, inputs, targets, numMasked: masked } of trainRows(source)) {
      if (signal?.aborted) return undefined;
      await writer.write(inputs, targets);
      numMasked += masked;
      if (position.microBatch > 0) continue;
      emit({ type: 'rows', step: position.step, done: position.step - firstStep + 1, steps });
      // Yields to the event loop so that signals are handled.
      await new Promise(setImmediate);
    }
  } finally {
    await writer.abandon();
  }
  const validation = await writeValidationRows(join(folder, 'validation'), data.validation, {
    dtype,
    shardBytes,
  });
  const rates = await NpyWriter.create(join(folder, 'learning_rates.npy'), '<f8', [steps]);
  await rates.write(Array.from({ length: steps }, (_, i) => parts.schedule(firstStep + i)));

  const index = {
    format: 'meap-handoff',
    version: 1,
    meap: packageVersion(import.meta.url),
    step: firstStep,
    vocab_size: model.config.vocab_size,
    mask_token_id: masker.maskId,
    model: await copyModel(checkpoint.path, folder),
    masking: { ...masking, seed: runSeeds(config).mask },
    train: {
      first_step: firstStep,
      steps,
      global_batch_size: train.global_batch_size,
      micro_batch_size: batchPlan(train, 1).microBatchSize,
      sequence_length: length,
      rows,
      rows_per_epoch: data.train.numBlocks,
      masked_tokens: numMasked,
      dtype,
      shards: within('train', writer.finish()),
      learning_rates: await rates.close(),
    },
    validation: {
      rows: data.validation.numBlocks,
      sequence_length: length,
      dtype,
      shards: within('validation', validation.shards),
      bytes: within('validation', validation.bytes),
    },
    optimizer: {
      name: 'AdamW',
      ...(await copyOptimizer(checkpoint.path, folder)),
      step: checkpoint.state.optimizerStep,
      learning_rate: train.learning_rate,
      beta1: train.adam_beta1,
      beta2: train.adam_beta2,
      epsilon: train.adam_epsilon,
      weight_decay: train.weight_decay,
      max_grad_norm: train.max_grad_norm,
    },
    expected,
  };
  for (const name of await readdir(FILES)) {
    if (/\.(py|md)$/.test(name)) await copyFile(join(FILES, name), join(folder, name));
  }
  // Written last, so that a folder with an index is complete.
  await writeFile(join(folder, 'handoff.json'), `${JSON.stringify(index, null, 2)}\n`);
  return {
    checkpoint: checkpoint.path,
    model: model.config,
    parameters: countParameters(model.config),
    firstStep,
    steps,
    rows,
    masked: numMasked / (rows * length),
    passes: Math.ceil(((firstStep + steps) * train.global_batch_size) / data.train.numBlocks),
    validationRows: data.validation.numBlocks,
    expected,
  };
}

/** Prefixes the file names in `value` with a folder. */
function within<T>(folder: string, value: T): T {
  return JSON.parse(JSON.stringify(value), (key, inner) => (key === 'file' ? `${folder}/${inner}` : inner));
}

/** Copies a checkpoint without the trainer's files. */
async function copyModel(checkpoint: string, folder: string): Promise<{ files: WrittenFile[] }> {
  const isModel = (path: string) => path !== join(checkpoint, 'trainer');
  await cp(checkpoint, join(folder, 'model'), { recursive: true, filter: isModel });
  const names = (await readdir(join(folder, 'model'))).sort();
  return { files: await Promise.all(names.map((name) => describeFile(folder, `model/${name}`))) };
}

async function copyOptimizer(checkpoint: string, folder: string): Promise<WrittenFile> {
  const file = 'optimizer.safetensors';
  await copyFile(join(checkpoint, 'trainer', file), join(folder, file));
  return describeFile(folder, file);
}

async function describeFile(folder: string, file: string): Promise<WrittenFile> {
  return { file, sha256: await fileSha256(join(folder, file)) };
}

function requireEmpty(out: string): void {
  let names: string[];
  try {
    names = existsSync(out) ? readdirSync(out) : [];
  } catch (error) {
    throw new RunError(`--out ${out}: cannot be used: ${reasonOf(error)}; choose another folder`, {
      cause: error,
    });
  }
  if (names.length === 0) return;
  throw new RunError(
    `--out ${out}: the folder is not empty, expected a missing or empty one; choose another, or delete it`,
  );
}

async function putInPlace(partial: string, out: string): Promise<void> {
  // rmdir fails if files have appeared since the first check.
  if (existsSync(out)) await rmdir(out);
  await rename(partial, out);
}

/** Throws RunError if the disk has too little free space. */
async function requireSpace(folder: string, needed: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (needed <= bavail * bsize) return;
  throw new RunError(
    `--out: got a hand-off of ${bytes(needed)}, expected at most the ${bytes(bavail * bsize)} free on the disk; use fewer --steps, or another disk`,
  );
}
