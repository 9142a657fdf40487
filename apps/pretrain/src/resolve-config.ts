import { existsSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { checkProbes } from '@meap/eval-recipes';
import { isHubAddress } from '@meap/hub';
import {
  ConfigError,
  contextLengthOf,
  findMeshMisfit,
  type LlamaConfig,
  type LlamaConfigInput,
  parseConfig as parseModelConfig,
  presets,
  readLlamaConfig,
} from '@meap/llama-model';
import {
  checkBatchKeys,
  checkKeepBest,
  checkMesh,
  checkOptimizerKeys,
  checkScheduleKeys,
  fillBatchKeys,
  fillIntervals,
  fillOptimizerKeys,
  fillScheduleKeys,
  parseConfig,
  Refusals,
} from '@meap/recipe-cli';
import type { z } from 'zod';
import { configSchema, type PretrainConfigInput } from './config.ts';

type Parsed = z.output<typeof configSchema>;

/** The shape of a new model; without `vocab_size`, the tokenizer determines it. */
export type ModelShape = Omit<LlamaConfigInput, 'vocab_size'> & {
  vocab_size?: number;
  max_position_embeddings: number;
  from?: undefined;
};

/** The model to continue training from. */
export interface ModelOrigin {
  from: string;
  vocab_size?: undefined;
}

/** A checked configuration with all defaults except those that depend on tokenizer or checkpoint. */
export interface PretrainConfig
  extends Omit<Parsed, 'extends' | 'model' | 'data' | 'train' | 'validation' | 'checkpoint' | 'samples'> {
  model: ModelShape | ModelOrigin;
  data: Parsed['data'] & { cache_dir: string };
  train: Parsed['train'] & {
    max_steps: number;
    global_batch_size: number;
    sequence_length: number;
    learning_rate: number;
  };
  validation: Parsed['validation'] & { every: number };
  checkpoint: Parsed['checkpoint'] & { every: number };
  samples: Parsed['samples'] & { max_new_tokens: number };
}

/**
 * Checks a configuration and fills in every default.
 *
 * @param numRanks processes that share every step
 * @throws ConfigurationError with every problem: path, value and what is allowed
 */
export function resolveConfig(
  input: PretrainConfigInput | Record<string, unknown>,
  numRanks = 1,
): PretrainConfig {
  const { extends: base, ...config } = parseConfig(configSchema, input);
  const refusals = new Refusals();
  const refuse = refusals.add.bind(refusals);
  if (base !== undefined) refuse('extends', base, 'none outside a recipe file; load it with loadConfig');

  const { data, tokenizer, masking } = config;
  const { from, ...ownShape } = config.model;
  const intervals = fillIntervals(config.checkpoint, config.validation);
  const validation = { ...config.validation, every: intervals.validation };
  const checkpoint = { ...config.checkpoint, every: intervals.checkpoint };
  const rates = fillBatchKeys(config.train, { global_batch_size: 256, learning_rate: 4e-4 });
  const curve = fillScheduleKeys(config.train, rates.learning_rate / 10);
  const knownContext = contextOf(config);
  const { sequence_length = Math.min(4096, knownContext ?? Number.POSITIVE_INFINITY) } = config.train;
  const optimizer = fillOptimizerKeys(config.train);
  const train = { ...config.train, ...rates, ...curve, ...optimizer, sequence_length };
  checkBatchKeys(train, refusals, numRanks);
  checkMesh({ ...config, train }, refusals, numRanks);
  checkScheduleKeys(train, refusals);
  checkOptimizerKeys(train, config, refusals);
  checkKeepBest(checkpoint, validation, refusals);
  checkProbes(config, refusals);
  const model = from === undefined ? resolveModel(ownShape, sequence_length, refusals) : { from };
  const context =
    model.from === undefined ? model.max_position_embeddings : (knownContext ?? sequence_length);
  // One position is taken by the BOS token.
  const { max_new_tokens = Math.min(64, context - 1) } = config.samples;
  const samples = { ...config.samples, max_new_tokens };

  if (train.max_steps === undefined) refuse('train.max_steps', undefined, 'a whole number above 0');
  if (model.from === undefined) {
    checkMeshShape(config, model, refusals);
    checkContext({ train, samples }, model.max_position_embeddings, refusals);
    if (config.extension)
      refuse('extension', config.extension, 'none without model.from, the checkpoint to extend');
  }
  for (const [key, value] of Object.entries(from === undefined ? {} : ownShape)) {
    refuse(`model.${key}`, value, 'none beside model.from; null removes it');
  }
  if (from !== undefined && config.init_seed !== undefined) {
    refuse('init_seed', config.init_seed, 'none beside model.from, which has weights; null removes it');
  }
  if (samples.prompts.length === 0 && samples.held_out === 0)
    refuse('samples.prompts', [], 'at least one prompt, which may be empty, or held_out above 0');
  const texts = { files: data.files, npm: data.npm, sources: data.sources && Object.keys(data.sources) };
  if (Object.values(texts).filter((list) => list?.length).length !== 1) {
    refuse('data', texts, 'one of files, npm and sources');
  }
  if (data.token_budget !== undefined && !data.sources) {
    refuse('data.token_budget', data.token_budget, 'none without data.sources');
  }
  if (!data.keep_downloads) {
    const named = [data.files, ...Object.values(data.sources ?? {}).map(({ files }) => files)].flat();
    if (!named.some((file) => file && isHubAddress(file))) {
      refuse('data.keep_downloads', false, 'true without files of the Hub, hf://datasets/OWNER/NAME/FILES');
    }
    if (tokenizer.vocab_size !== undefined) {
      const why = 'which reads the texts before they are tokenized; set tokenizer.path instead';
      refuse('data.keep_downloads', false, `true with tokenizer.vocab_size, ${why}`);
    }
  }
  if (data.validation_files && data.validation_fraction) {
    refuse('data.validation_fraction', data.validation_fraction, 'none beside validation_files');
  }
  const { path, vocab_size } = tokenizer;
  if (from !== undefined && (path ?? vocab_size) !== undefined) {
    refuse(
      'tokenizer',
      { path, vocab_size },
      'neither path nor vocab_size beside model.from, which has a tokenizer',
    );
  }
  if (from === undefined && (path === undefined) === (vocab_size === undefined)) {
    refuse('tokenizer', { path, vocab_size }, 'either path or vocab_size');
  }
  if (masking.strategy === 'span' && masking.span_length === undefined) {
    refuse('masking.span_length', undefined, 'a whole number above 0 with strategy span');
  }
  if (masking.strategy !== 'span' && masking.span_length !== undefined) {
    const expected = `none with strategy ${masking.strategy}; null removes it`;
    refuse('masking.span_length', masking.span_length, expected);
  }
  if (masking.ratio === 0 && masking.replace_with !== 'mask') {
    refuse('masking.replace_with', masking.replace_with, 'mask with ratio 0, since nothing is masked');
  }
  if (masking.ratio === 0 && masking.until !== 1) {
    refuse('masking.until', masking.until, '1 with ratio 0, since nothing is masked');
  }
  refusals.throwIfAny();

  const validation_fraction = data.validation_files ? undefined : (data.validation_fraction ?? 0.05);
  // Blocks of T + 1 tokens, plus the validation share.
  const runTokens = train.max_steps! * train.global_batch_size * (train.sequence_length + 1);
  const token_budget = data.token_budget ?? Math.ceil(runTokens / (1 - (validation_fraction ?? 0)));
  return {
    ...config,
    model,
    data: {
      ...data,
      ...(data.sources && { token_budget }),
      validation_fraction,
      cache_dir: data.cache_dir ?? defaultCacheDirectory(),
    },
    train: { ...train, max_steps: train.max_steps! },
    validation,
    checkpoint,
    samples,
  };
}

/** Returns the context length that limits the default of `train.sequence_length`, if the recipe or model sets one. */
function contextOf({ model, extension }: Parsed): number | undefined {
  const { from, preset, max_position_embeddings } = model;
  if (from === undefined) {
    return max_position_embeddings ?? (preset && presets[preset].max_position_embeddings);
  }
  if (extension) return extension.context_length;
  try {
    const checkpoints = join(from, 'checkpoints');
    const isRun = !existsSync(join(from, 'config.json')) && existsSync(checkpoints);
    const folders = isRun ? readdirSync(checkpoints).map((name) => join(checkpoints, name)) : [from];
    const folder = folders.find((path) => existsSync(join(path, 'config.json')));
    return folder === undefined ? undefined : contextLengthOf(readLlamaConfig(folder));
  } catch {
    // Loading the model reports what is wrong with it.
    return undefined;
  }
}

/** Refuses a mesh that does not divide the model's shape. */
export function checkMeshShape(
  { distributed: { mesh } }: Pick<Parsed, 'distributed'>,
  shape: ModelShape | LlamaConfig,
  refusals: Refusals,
): void {
  const misfit = mesh && findMeshMisfit(shape, mesh);
  if (!misfit) return;
  const { key, value, axis } = misfit;
  refusals.add(`model.${key}`, value, `a multiple of ${mesh[axis]}, ${axis} of distributed.mesh`);
}

/** Refuses rows and samples beyond the model's context. */
export function checkContext(
  { train, samples }: Pick<PretrainConfig, 'samples'> & { train: { sequence_length: number } },
  context: number,
  refusals: Refusals,
): void {
  const { sequence_length } = train;
  const { max_new_tokens } = samples;
  if (sequence_length > context)
    refusals.add('train.sequence_length', sequence_length, `at most the model’s context of ${context}`);
  if (max_new_tokens >= context)
    refusals.add('samples.max_new_tokens', max_new_tokens, `less than the model’s context of ${context}`);
}

function resolveModel(
  { preset, model_type: architecture, ...given }: Omit<Parsed['model'], 'from'>,
  sequenceLength: number,
  refusals: Refusals,
): ModelShape {
  // Special token ids come from the tokenizer; weights are stored in float32 for exact resume.
  const { bos_token_id, eos_token_id, pad_token_id, torch_dtype, head_dim, initializer_range, ...shape } =
    preset ? presets[preset] : ({} as Record<string, undefined>);
  const defaults = { rms_norm_eps: 1e-5, rope_theta: 10_000 };
  const keys = { ...defaults, ...shape, ...given };
  keys.max_position_embeddings =
    given.max_position_embeddings ?? Math.max(shape.max_position_embeddings ?? 0, sequenceLength);
  // The preset's number may not divide the given number of query heads.
  if (given.num_key_value_heads === undefined && keys.num_attention_heads! % keys.num_key_value_heads! !== 0)
    keys.num_key_value_heads = keys.num_attention_heads;
  try {
    // Any vocabulary size will do for the check. Both architectures have the defaults of LLaMA; Qwen3's are for its own sizes.
    const { vocab_size, bos_token_id, eos_token_id, pad_token_id, torch_dtype, ...checked } =
      parseModelConfig({ ...keys, vocab_size: keys.vocab_size ?? 64 }, 'model');
    return {
      ...checked,
      ...(architecture === 'qwen3' && { model_type: architecture }),
      initializer_range: checked.initializer_range ?? undefined,
      vocab_size: keys.vocab_size,
    };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const { path, value, allowed } = error;
    refusals.add(path, value, path === 'model.hidden_size' ? `${allowed}, or a preset` : allowed);
    return { ...keys } as ModelShape;
  }
}

function defaultCacheDirectory(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'meap');
}
