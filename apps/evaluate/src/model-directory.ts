import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
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
 * @throws ModelError where there is none
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

function adapterDirectory(directory: string): ModelDirectory {
  const path = join(directory, 'adapter_config.json');
  let name: unknown;
  try {
    name = JSON.parse(readFileSync(path, 'utf8')).base_model_name_or_path;
  } catch (error) {
    throw new ModelError(`${path}: cannot be read as JSON: ${(error as Error).message}`);
  }
  // PEFT writes the path as it was given, which may have been relative to either.
  const places = typeof name === 'string' ? [resolve(name), resolve(dirname(directory), name)] : [];
  const base = places.find((place) => existsSync(join(place, 'config.json')));
  if (base === undefined) {
    throw new ModelError(
      `${path}: base_model_name_or_path, got ${JSON.stringify(name)}, expected the folder of a model on this machine; ` +
        'download the base model and write its folder there',
    );
  }
  const own = existsSync(join(directory, 'tokenizer.json'));
  return { base, adapter: directory, tokenizer: own ? directory : base };
}
