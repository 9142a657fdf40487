/** Reads and writes adapters as PEFT does: adapter_config.json and adapter_model.safetensors. */
import { makeDirectory } from '@meap/files';
import {
  fromFloat32,
  openSafetensors,
  readJsonFile,
  SafetensorsError,
  type SafetensorsReader,
  toFloat32,
  writeSafetensors,
} from '@meap/safetensors';
import type * as tf from '@tensorflow/tfjs-core';
import { type LoadLlamaOptions, loadLlama, requireFinite } from './checkpoint.ts';
import type { LlamaConfig } from './config.ts';
import { ConfigKeys } from './config-keys.ts';
import { AdapterError } from './errors.ts';
import { growVocabulary } from './grow-vocabulary.ts';
import { requireAdapter, rowSquaresOf } from './lora.ts';
import {
  type CompleteLoraOptions,
  completeLoraOptions,
  LEARNED_MODULES,
  type LearnedModule,
  LORA_TARGETS,
  LoraAdapter,
  type LoraOptions,
  loraShapes,
} from './lora-adapter.ts';
import type { Llama } from './model.ts';
import { fs } from './node.ts';
import { EMBEDDING, HEAD, variable } from './parameters.ts';

const CONFIG_FILE = 'adapter_config.json';
const WEIGHTS_FILE = 'adapter_model.safetensors';

// PEFT wraps the model of transformers in two of its own.
const PREFIX = 'base_model.model.';

/** Options of `saveLora`. */
export interface SaveLoraOptions {
  /** Directory or Hub name of the base model, for readers that load it; none by default. */
  baseModel?: string;
  /** Replaces the function of `@meap/safetensors`, for instance to write in the background during training. */
  writeSafetensors?: (...file: Parameters<typeof writeSafetensors>) => Promise<unknown>;
}

/**
 * Writes a model's adapter as PEFT does, in float32: adapter_config.json and adapter_model.safetensors.
 *
 * @returns names of the files written
 * @throws AdapterError if the model has no adapter or the directory cannot be written; CheckpointError for values
 *   that are not finite; SafetensorsError when writing the weights fails
 */
export async function saveLora(
  directory: string,
  model: Llama,
  { baseModel, writeSafetensors: write = writeSafetensors }: SaveLoraOptions = {},
): Promise<string[]> {
  const adapter = requireAdapter(model, 'saveLora');
  const isTied = model.config.tie_word_embeddings && adapter.modulesToSave.includes('embed_tokens');
  const config = adapterConfig(adapter, isTied, baseModel ?? null);
  try {
    makeDirectory(directory);
    await fs.promises.writeFile(`${directory}/${CONFIG_FILE}`, `${JSON.stringify(config, null, 2)}\n`);
  } catch (cause) {
    throw new AdapterError(`${directory}: cannot be written: ${(cause as Error).message}`, { cause });
  }
  const tensors = [];
  for (const [name, parameter] of adapter.parameters) {
    const values = (await parameter.data()) as Float32Array;
    requireFinite(directory, name, values, Number.POSITIVE_INFINITY);
    const stored = fromFloat32(values, 'F32', parameter.shape);
    tensors.push([PREFIX + name, stored] as const);
    if (isTied && name === EMBEDDING) tensors.push([PREFIX + HEAD, stored] as const);
  }
  await write(`${directory}/${WEIGHTS_FILE}`, tensors, { metadata: { format: 'pt' } });
  return [CONFIG_FILE, WEIGHTS_FILE];
}

/** PEFT's adapter_config.json, whose keys are those that {@link parseAdapterConfig} reads. */
function adapterConfig(adapter: LoraAdapter, isTied: boolean, baseModel: string | null) {
  const modules = LEARNED_MODULES.filter(
    (module) => adapter.modulesToSave.includes(module) || (isTied && module === 'lm_head'),
  );
  return {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: baseModel,
    inference_mode: true,
    r: adapter.rank,
    lora_alpha: adapter.alpha,
    lora_dropout: adapter.dropout,
    target_modules: adapter.targetModules,
    bias: 'none',
    fan_in_fan_out: false,
    init_lora_weights: true,
    use_rslora: adapter.useRslora,
    use_dora: adapter.useDora,
    rank_pattern: {},
    alpha_pattern: {},
    modules_to_save: modules.length > 0 ? modules : null,
    // Keeps them one table in further training.
    ...(isTied && { ensure_weight_tying: true }),
    trainable_token_indices: adapter.trainableTokens.length > 0 ? adapter.trainableTokens : null,
    layers_to_transform: null,
  };
}
type AdapterConfig = Partial<Record<keyof ReturnType<typeof adapterConfig>, unknown>>;

/**
 * Reads an adapter that PEFT or `saveLora` wrote and attaches it to the model, whose own weights are frozen.
 *
 * Refuses options that this package does not implement (rank patterns, whole layers, biases, other adapter types, unknown
 * keys) by name; a key whose value is null, false or empty counts as absent, since PEFT writes all its options.
 *
 * @throws AdapterError or ConfigError for an adapter that this package does not implement or that does not match the
 *   model; CheckpointError for values that are not finite; SafetensorsError for a damaged file
 */
export async function loadLora(directory: string, model: Llama): Promise<LoraAdapter> {
  const path = `${directory}/${CONFIG_FILE}`;
  const options = parseAdapterConfig(readJson(path), path, model.config);
  const reader = await openSafetensors(`${directory}/${WEIGHTS_FILE}`);
  const parameters = new Map<string, tf.Variable>();
  let adapter: LoraAdapter | undefined;
  try {
    const shapes = loraShapes(model.config, options);
    const isTied = model.config.tie_word_embeddings && options.modulesToSave.includes('embed_tokens');
    if (isTied) await requireOneTable(directory, reader);
    for (const name of reader.tensors.keys()) {
      if (name.startsWith(PREFIX) && shapes.has(name.slice(PREFIX.length))) continue;
      if (isTied && name === PREFIX + HEAD) continue;
      throw new AdapterError(
        `${directory}: ${name} is unexpected, expected the matrices of ${options.targetModules}`,
      );
    }
    for (const [name, shape] of shapes) {
      const found = reader.tensors.get(PREFIX + name);
      if (found?.shape.join() !== shape.join()) {
        const got = found ? `[${found.shape}]` : 'none';
        throw new AdapterError(
          `${directory}: ${PREFIX}${name} does not fit the model, got ${got}, expected [${shape}]; ` +
            'load the base model that the adapter was trained on, and growVocabulary where it had grown',
        );
      }
      const values = toFloat32(await reader.read(PREFIX + name));
      requireFinite(directory, name, values, Number.POSITIVE_INFINITY);
      parameters.set(name, variable(values, shape));
    }
    adapter = new LoraAdapter(options, parameters, rowSquaresOf(model, options));
    model.attach(adapter);
    return adapter;
  } catch (error) {
    for (const parameter of parameters.values()) parameter.dispose();
    adapter?.dispose();
    throw error;
  } finally {
    await reader.close();
  }
}

/**
 * Loads a base model and its adapter, and grows the vocabulary to that of the adapter: published models have no row for
 * `[MASK]`.
 *
 * @throws as `loadLlama` and `loadLora`
 */
export async function loadAdaptedLlama(
  baseDirectory: string,
  adapterDirectory: string,
  options?: LoadLlamaOptions,
): Promise<Llama> {
  let model = await loadLlama(baseDirectory, options);
  try {
    model = growVocabulary(model, { size: Math.max(1, await adapterVocabularySize(adapterDirectory)) });
    await loadLora(adapterDirectory, model);
    return model;
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/**
 * Returns the smallest vocabulary that an adapter's trained embeddings fit; 0 if it has none.
 *
 * @throws AdapterError if adapter_config.json cannot be read; SafetensorsError for damaged weights
 */
export async function adapterVocabularySize(directory: string): Promise<number> {
  const source = readJson(`${directory}/${CONFIG_FILE}`);
  const indices = (source as AdapterConfig | null)?.trainable_token_indices;
  const ids = (Array.isArray(indices) ? indices : Object.values(indices ?? {}).flat()) as number[];
  const reader = await openSafetensors(`${directory}/${WEIGHTS_FILE}`);
  try {
    const tables = [EMBEDDING, HEAD].map((name) => reader.tensors.get(PREFIX + name)?.shape[0] ?? 0);
    return Math.max(0, ...tables, ...ids.filter(Number.isSafeInteger).map((id) => id + 1));
  } finally {
    await reader.close();
  }
}

/**
 * Returns the folder of an adapter's base model, the path in adapter_config.json relative to the working directory or to
 * the parent of the adapter.
 *
 * @throws AdapterError if there is no model
 */
export async function adapterBase(
  directory: string,
  fetchBase: (name: string) => Promise<string | undefined> = async () => undefined,
): Promise<string> {
  const path = `${directory}/${CONFIG_FILE}`;
  const source = readJson(path) as AdapterConfig | null;
  const name = source?.base_model_name_or_path;
  // PEFT writes the path as given, which may be relative to either.
  const candidates = typeof name === 'string' ? [name, `${directory}/../${name}`] : [];
  const local = candidates.find((candidate) => fs.existsSync(`${candidate}/config.json`));
  const base = local ?? (typeof name === 'string' ? await fetchBase(name) : undefined);
  if (base !== undefined) return base;
  throw new AdapterError(
    `${path}: base_model_name_or_path, got ${JSON.stringify(name)}, expected the folder of a model on this machine; ` +
      'download the base model and write its folder there',
  );
}

// Keys that describe the origin of the adapter, or that have an effect only with another key, which is refused.
const INERT_KEYS = new Set([
  'auto_mapping',
  'base_model_name_or_path',
  'ensure_weight_tying',
  'inference_mode',
  'megatron_core',
  'peft_version',
  'qalora_group_size',
  'revision',
]);

// Initialisations that leave the base weights unchanged; others, such as pissa, change them.
const INITIALISATIONS = [true, undefined, 'gaussian', 'eva', 'orthogonal'];

/** @throws ConfigError by path, AdapterError for values out of range */
function parseAdapterConfig(source: unknown, path: string, model: LlamaConfig): CompleteLoraOptions {
  const isObject = typeof source === 'object' && source !== null;
  const given = Object.entries(isObject ? source : {}).filter(([, value]) => !isEmpty(value));
  const keys = new ConfigKeys<keyof AdapterConfig>(
    isObject ? Object.fromEntries(given) : source,
    path,
    'an adapter config of PEFT',
  );
  const peftType = keys.take('peft_type');
  if (peftType !== 'LORA') throw keys.refusal('peft_type', peftType, '"LORA"');
  keys.takeNeutral({ task_type: 'CAUSAL_LM', bias: 'none' });
  const initialisation = keys.take('init_lora_weights');
  if (!INITIALISATIONS.includes(initialisation as string)) {
    throw keys.refusal('init_lora_weights', initialisation, 'true, "gaussian", "eva" or "orthogonal"');
  }
  const rank = keys.count('r', 8);
  const options = {
    rank,
    alpha: keys.positive('lora_alpha', 8),
    dropout: keys.number('lora_dropout', 'a number from 0 and below 1', (rate) => rate >= 0 && rate < 1, 0),
    useRslora: keys.boolean('use_rslora', false),
    useDora: keys.boolean('use_dora', false),
    targetModules: targetModules(keys),
    modulesToSave: modulesToSave(keys),
    trainableTokens: trainableTokens(keys),
  };
  keys.requireNoMore(INERT_KEYS, 'a key of a LoRA config that this package implements');
  return completeLoraOptions(options, model);
}

function targetModules(keys: ConfigKeys<keyof AdapterConfig>): LoraOptions['targetModules'] {
  const value = keys.take('target_modules');
  if (value === 'all-linear') return value;
  const known = Array.isArray(value) && value.every((target) => LORA_TARGETS.includes(target));
  if (known) return value;
  throw keys.refusal('target_modules', value, `a list of some of ${LORA_TARGETS.join(', ')}`);
}

/** Tables with or without the prefix `model.`, and `norm`, which to PEFT is the end of a name: all norms. */
function modulesToSave(keys: ConfigKeys<keyof AdapterConfig>): LearnedModule[] {
  const value = keys.take('modules_to_save') ?? [];
  const names = Array.isArray(value)
    ? value.map((name) => (name === 'model.embed_tokens' ? 'embed_tokens' : name))
    : [undefined];
  if (names.every((name) => LEARNED_MODULES.includes(name as LearnedModule))) return names as LearnedModule[];
  throw keys.refusal('modules_to_save', value, `a list of some of ${LEARNED_MODULES.join(', ')}`);
}

/** PEFT may train a tied table and its head separately, which makes the model untied. */
async function requireOneTable(directory: string, reader: SafetensorsReader): Promise<void> {
  const [table, head] = [PREFIX + EMBEDDING, PREFIX + HEAD];
  const { tensors } = reader;
  if (tensors.has(table) && tensors.has(head)) {
    const [first, second] = [await reader.read(table), await reader.read(head)];
    if (first.dtype === second.dtype && Buffer.compare(first.data, second.data) === 0) return;
  }
  throw new AdapterError(
    `${directory}: trains ${tensors.has(table) ? 'the embeddings' : 'the head'} separately although they are tied, ` +
      'expected one table for both; train with ensure_weight_tying, or on a model with tie_word_embeddings false',
  );
}

/** A list, or a list under the name of its layer. */
function trainableTokens(keys: ConfigKeys<keyof AdapterConfig>): number[] {
  const value = keys.take('trainable_token_indices') ?? [];
  const { embed_tokens, ...others } = Array.isArray(value) ? { embed_tokens: value } : Object(value);
  if (Array.isArray(embed_tokens) && Object.keys(others).length === 0) return embed_tokens;
  throw keys.refusal('trainable_token_indices', value, 'a list of ids, or one under embed_tokens');
}

function isEmpty(value: unknown): boolean {
  if (value === null || value === false) return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

function readJson(path: string): unknown {
  try {
    return readJsonFile(path);
  } catch (cause) {
    if (cause instanceof SafetensorsError) throw new AdapterError(cause.message, { cause });
    throw new AdapterError(`${path}: cannot be read as JSON: ${(cause as Error).message}`, { cause });
  }
}
