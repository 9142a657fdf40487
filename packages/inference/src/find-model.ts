import { existsSync, realpathSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { cachedName, fetchFromHub, HubError, type HubEvent, isHubAddress, modelAddress } from '@meap/hub';
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

/** Options of {@link findModel}, for a model of the Hub. */
export interface FindModelOptions {
  /** Called with the progress of a download. */
  onEvent?: (event: HubEvent) => void;
  /** Ends a download. */
  signal?: AbortSignal;
}

/**
 * Finds a model in a Hugging Face folder, a PEFT adapter, or a run directory of `meap-pretrain` or `meap-finetune`: its
 * finished model, or else its newest complete checkpoint. A name of the Hugging Face Hub is fetched into the cache:
 * `OWNER/NAME[@REVISION]`, unless there is such a folder, or `hf://OWNER/NAME[@REVISION][/FOLDER]`.
 *
 * @throws ModelError if there is none, or it cannot be fetched; AdapterError if an adapter's base does not exist
 */
export async function findModel(model: string, options: FindModelOptions = {}): Promise<ModelDirectory> {
  const directory = await localFolder(model, options);
  if (existsSync(join(directory, 'adapter_config.json'))) return adapterDirectory(directory, options);
  if (existsSync(join(directory, 'config.json'))) {
    requireSafetensors(directory);
    return { base: directory, tokenizer: directory };
  }
  if (existsSync(join(directory, 'model', 'config.json')))
    return findModel(join(directory, 'model'), options);
  const newest = await latestCheckpoint(join(directory, 'checkpoints'), () => {});
  if (newest) return findModel(newest.path, options);
  const problem = existsSync(directory) ? 'contains no config.json, model or checkpoints' : 'no such folder';
  throw new ModelError(
    `model ${directory}: ${problem}, expected a Hugging Face folder, a run directory or a name of the Hub`,
  );
}

/** Refuses a folder in PyTorch's older format. */
function requireSafetensors(directory: string): void {
  const has = (name: string) => existsSync(join(directory, name));
  const isOlder = has('pytorch_model.bin') || has('pytorch_model.bin.index.json');
  if (!isOlder || has('model.safetensors') || has('model.safetensors.index.json')) return;
  throw new ModelError(
    `model ${directory}: has weights in pytorch_model.bin, expected model.safetensors; convert it, without Python: ` +
      `meap-convert --from pytorch --model ${directory} --out DIR`,
  );
}

async function adapterDirectory(directory: string, options: FindModelOptions): Promise<ModelDirectory> {
  const fetchBase = async (name: string) => {
    const address = modelAddress(name);
    return address && fetchModel(address, `${directory}: the base model `, options);
  };
  const base = resolve(await adapterBase(directory, fetchBase));
  const own = existsSync(join(directory, 'tokenizer.json'));
  return { base, adapter: directory, tokenizer: own ? directory : base };
}

/**
 * Finds an adapter of a model that is in use: a PEFT folder, or a name of the Hub as in {@link findModel}.
 *
 * @param base the folders of the model
 * @throws ModelError if there is none, if it was trained on another model, or if the model has an adapter itself
 */
export async function findAdapter(
  adapter: string,
  base: ModelDirectory,
  options: FindModelOptions = {},
): Promise<ModelDirectory & { adapter: string }> {
  if (base.adapter) {
    throw new ModelError(
      `adapter ${adapter}: the model is an adapter itself (${base.adapter}), expected a base model; use ${base.base}`,
    );
  }
  const directory = await localFolder(adapter, options);
  if (!existsSync(join(directory, 'adapter_config.json'))) {
    const problem = existsSync(directory) ? 'contains no adapter_config.json' : 'no such folder';
    throw new ModelError(
      `adapter ${directory}: ${problem}, expected a PEFT adapter, such as RUN/adapter of meap-finetune`,
    );
  }
  const repo = cachedName(base.base)?.repo;
  const recorded = await adapterBase(directory, async (name) => {
    const isBase = repo === undefined ? basename(name) === basename(base.base) : name === repo;
    return isBase ? base.base : name;
  });
  if (!existsSync(recorded) || realpathSync(recorded) !== realpathSync(base.base)) {
    throw new ModelError(
      `adapter ${directory}: was trained on ${recorded}, expected ${repo ?? base.base}, the model that it is used with; ` +
        'if they are the same, change base_model_name_or_path in adapter_config.json',
    );
  }
  const own = existsSync(join(directory, 'tokenizer.json'));
  return { base: base.base, adapter: directory, tokenizer: own ? directory : base.tokenizer };
}

/**
 * Returns the folder of a model: itself, or for a name of the Hub as in {@link findModel} its folder in the cache.
 *
 * @throws ModelError for a name that cannot be fetched
 */
export async function localFolder(model: string, options: FindModelOptions = {}): Promise<string> {
  if (isHubAddress(model)) return fetchModel(model, 'model ', options);
  const address = existsSync(model) ? undefined : modelAddress(model);
  return address ? fetchModel(address, `model ${model}: no such folder, and on the Hub `, options) : model;
}

async function fetchModel(
  address: string,
  prefix: string,
  options: FindModelOptions,
  wanted: 'model' | 'tokenizer' = 'model',
): Promise<string> {
  try {
    return (await fetchFromHub(address, { wanted, ...options })).folder;
  } catch (error) {
    if (error instanceof HubError) throw new ModelError(prefix + error.message, { cause: error });
    throw error;
  }
}

/**
 * Returns the folder of a model's tokenizer: of a folder as in {@link findModel}, or of a name of the Hub, from which only the
 * tokenizer is fetched.
 *
 * @throws ModelError if there is none, or it cannot be fetched
 */
export async function findTokenizer(model: string, options: FindModelOptions = {}): Promise<string> {
  if (existsSync(join(model, 'tokenizer.json'))) return model;
  const address = isHubAddress(model) ? model : existsSync(model) ? undefined : modelAddress(model);
  if (!address) return (await findModel(model, options)).tokenizer;
  return fetchModel(address, `tokenizer ${model}: no such folder, and on the Hub `, options, 'tokenizer');
}

/** The short name of a model: that of its folder, or of its repository. */
export function modelName(model: string): string {
  return cachedName(model)?.repo.split('/').at(-1) ?? basename(resolve(model));
}
