import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { adapterBase } from '@meap/llama-model';
import { latestCheckpoint } from '@meap/trainer';
import { ModelError } from './errors.ts';

/** Where the parts of a model are. */
export interface ModelDirectory {
  /** Folder with config.json and the weights. */
  readonly base: string;
  /** Folder with a PEFT adapter for it. */
  readonly adapter?: string;
  /** Folder with tokenizer.json. */
  readonly tokenizer: string;
}

/**
 * Finds a model: a Hugging Face folder, a PEFT adapter's, or a run of `meap-pretrain` or `meap-finetune`, of which the
 * finished model counts and else the newest checkpoint.
 *
 * @throws ModelError where there is none; AdapterError where an adapter's base is not there
 */
export async function findModel(directory: string): Promise<ModelDirectory> {
  if (existsSync(join(directory, 'adapter_config.json'))) return adapterDirectory(directory);
  if (existsSync(join(directory, 'config.json'))) return { base: directory, tokenizer: directory };
  if (existsSync(join(directory, 'model', 'config.json'))) return findModel(join(directory, 'model'));
  const newest = await latestCheckpoint(join(directory, 'checkpoints'), () => {});
  if (newest) return findModel(newest.path);
  const what = existsSync(directory) ? 'no config.json, model or checkpoints in there' : 'no such folder';
  throw new ModelError(`model ${directory}: ${what}, expected a Hugging Face folder or a run directory`);
}

async function adapterDirectory(directory: string): Promise<ModelDirectory> {
  const base = resolve(await adapterBase(directory));
  const own = existsSync(join(directory, 'tokenizer.json'));
  return { base, adapter: directory, tokenizer: own ? directory : base };
}
