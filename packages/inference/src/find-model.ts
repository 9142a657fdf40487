import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { adapterBase } from '@meap/llama-model';
import { latestCheckpoint } from '@meap/trainer';
import { ModelError } from './errors.ts';

/** The folders of a model. */
export interface ModelDirectory {
  /** Folder with config.json and the weights. */
  readonly base: string;
  readonly adapter?: string;
  /** Folder with tokenizer.json. */
  readonly tokenizer: string;
}

/**
 * Finds a model in a Hugging Face folder, a PEFT adapter, or a run directory of `meap-pretrain` or `meap-finetune`: its
 * finished model, or else its newest complete checkpoint.
 *
 * @throws ModelError if there is none; AdapterError if an adapter's base does not exist
 */
export async function findModel(directory: string): Promise<ModelDirectory> {
  if (existsSync(join(directory, 'adapter_config.json'))) return adapterDirectory(directory);
  if (existsSync(join(directory, 'config.json'))) return { base: directory, tokenizer: directory };
  if (existsSync(join(directory, 'model', 'config.json'))) return findModel(join(directory, 'model'));
  const newest = await latestCheckpoint(join(directory, 'checkpoints'), () => {});
  if (newest) return findModel(newest.path);
  const problem = existsSync(directory) ? 'contains no config.json, model or checkpoints' : 'no such folder';
  throw new ModelError(`model ${directory}: ${problem}, expected a Hugging Face folder or a run directory`);
}

async function adapterDirectory(directory: string): Promise<ModelDirectory> {
  const base = resolve(await adapterBase(directory));
  const own = existsSync(join(directory, 'tokenizer.json'));
  return { base, adapter: directory, tokenizer: own ? directory : base };
}
