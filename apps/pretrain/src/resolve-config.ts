import { homedir } from 'node:os';
import { join } from 'node:path';
import {
  ConfigError,
  type LlamaConfigInput,
  parseConfig as parseModelConfig,
  presets,
} from '@meap/llama-model';
import { checkBatchKeys, checkKeepBest, parseConfig, Refusals } from '@meap/recipe-cli';
import type { z } from 'zod';
import { configSchema, type PretrainConfigInput } from './config.ts';

type Parsed = z.output<typeof configSchema>;

/** The shape of a fresh model; `vocab_size` is absent where it follows from the tokenizer. */
export type ModelShape = Omit<LlamaConfigInput, 'vocab_size'> & {
  vocab_size?: number;
  max_position_embeddings: number;
  from?: undefined;
};

/** The folder of a model to train on. */
export interface ModelOrigin {
  from: string;
  vocab_size?: undefined;
}

/** A checked configuration in which nothing is left open but what depends on the tokenizer or the checkpoint. */
export interface PretrainConfig extends Omit<Parsed, 'extends' | 'model' | 'data' | 'train'> {
  model: ModelShape | ModelOrigin;
  data: Parsed['data'] & { cache_dir: string };
  train: Parsed['train'] & { max_steps: number; min_learning_rate: number };
}

/**
 * Checks a configuration and fills in every default.
 *
 * @throws ConfigurationError naming every problem with its path, value and what is allowed
 */
export function resolveConfig(input: PretrainConfigInput | Record<string, unknown>): PretrainConfig {
  const { extends: base, ...config } = parseConfig(configSchema, input);
  const refusals = new Refusals();
  const refuse: Refuse = (path, value, expected) => refusals.add(path, value, expected);
  if (base !== undefined) refuse('extends', base, 'none outside a recipe file; load it with loadConfig');

  const { data, tokenizer, masking, train, samples } = config;
  const min_learning_rate = train.min_learning_rate ?? train.learning_rate / 10;
  checkBatchKeys({ ...train, min_learning_rate }, refusals);
  checkKeepBest(config.checkpoint, config.validation, refusals);
  const { from, ...ownShape } = config.model;
  const model = from === undefined ? resolveModel(ownShape, train.sequence_length, refuse) : { from };

  if (train.max_steps === undefined) refuse('train.max_steps', undefined, 'a whole number above 0');
  if (model.from === undefined) {
    checkContext(config, model.max_position_embeddings, refuse);
    if (config.extension)
      refuse('extension', config.extension, 'none without model.from, the checkpoint to extend');
  }
  for (const [key, value] of Object.entries(from === undefined ? {} : ownShape)) {
    refuse(`model.${key}`, value, 'none beside model.from, whose own counts; null takes it away');
  }
  if (samples.prompts.length === 0)
    refuse('samples.prompts', [], 'at least one prompt, such as an empty one');
  const texts = { files: data.files, npm: data.npm, sources: data.sources && Object.keys(data.sources) };
  if (Object.values(texts).filter((list) => list?.length).length !== 1) {
    refuse('data', texts, 'one of files, npm and sources');
  }
  if (data.token_budget !== undefined && !data.sources) {
    refuse('data.token_budget', data.token_budget, 'none without data.sources');
  }
  if (data.validation_files && data.validation_fraction) {
    refuse('data.validation_fraction', data.validation_fraction, 'none beside validation_files');
  }
  const { path, vocab_size } = tokenizer;
  if (from !== undefined && (path ?? vocab_size) !== undefined) {
    refuse('tokenizer', { path, vocab_size }, 'neither path nor vocab_size: model.from brings its tokenizer');
  }
  if (from === undefined && (path === undefined) === (vocab_size === undefined)) {
    refuse('tokenizer', { path, vocab_size }, 'either path or vocab_size');
  }
  if (masking.strategy === 'span' && masking.span_length === undefined) {
    refuse('masking.span_length', undefined, 'a whole number above 0 with strategy span');
  }
  if (masking.strategy !== 'span' && masking.span_length !== undefined) {
    refuse(
      'masking.span_length',
      masking.span_length,
      `none with strategy ${masking.strategy}; null takes it away`,
    );
  }
  refusals.throwIfAny();

  const validation_fraction = data.validation_files ? undefined : (data.validation_fraction ?? 0.05);
  // Whole blocks of T + 1 tokens, and the share of them that is not trained on.
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
    train: { ...train, max_steps: train.max_steps!, min_learning_rate },
  };
}

/** Refuses rows and samples that are longer than the model's texts. */
export function checkContext(
  { train, samples }: Pick<PretrainConfig, 'samples'> & { train: { sequence_length: number } },
  context: number,
  refuse: Refuse,
): void {
  if (train.sequence_length > context) {
    refuse('train.sequence_length', train.sequence_length, `at most the model’s context of ${context}`);
  }
  if (samples.max_new_tokens >= context) {
    refuse('samples.max_new_tokens', samples.max_new_tokens, `less than the model’s context of ${context}`);
  }
}

type Refuse = (path: string, value: unknown, expected: string) => void;

function resolveModel(
  { preset, ...given }: Omit<Parsed['model'], 'from'>,
  sequenceLength: number,
  refuse: Refuse,
): ModelShape {
  // Ids of special tokens are the tokenizer's, not the preset's; weights are stored in float32 to resume exactly.
  const { bos_token_id, eos_token_id, pad_token_id, torch_dtype, head_dim, initializer_range, ...shape } =
    preset ? presets[preset] : ({} as Record<string, undefined>);
  const defaults = { max_position_embeddings: sequenceLength, rms_norm_eps: 1e-5, rope_theta: 10_000 };
  const keys = { ...defaults, ...shape, ...given };
  try {
    // Any size of the vocabulary will do to check the rest.
    const { vocab_size, bos_token_id, eos_token_id, pad_token_id, torch_dtype, ...checked } =
      parseModelConfig({ ...keys, vocab_size: keys.vocab_size ?? 64 }, 'model');
    return {
      ...checked,
      initializer_range: checked.initializer_range ?? undefined,
      vocab_size: keys.vocab_size,
    };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    refuse(
      error.path,
      error.value,
      error.path === 'model.hidden_size' ? `${error.allowed}, or a preset` : error.allowed,
    );
    return { ...keys } as ModelShape;
  }
}

function defaultCacheDirectory(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'meap');
}
