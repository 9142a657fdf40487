import { homedir } from 'node:os';
import { join } from 'node:path';
import { ConfigError, type LlamaConfigInput, parseConfig, presets } from '@meap/llama-model';
import { stringify } from 'yaml';
import type { z } from 'zod';
import { configSchema, type PretrainConfigInput } from './config.ts';
import { ConfigurationError } from './errors.ts';

type Parsed = z.output<typeof configSchema>;

/** A checked configuration in which nothing is left open but what depends on the tokenizer. */
export interface PretrainConfig extends Omit<Parsed, 'extends' | 'model' | 'data' | 'train'> {
  /** The shape; `vocab_size` is absent where it follows from the tokenizer. */
  model: Omit<LlamaConfigInput, 'vocab_size'> & { vocab_size?: number; max_position_embeddings: number };
  data: Parsed['data'] & { cache_dir: string };
  train: Parsed['train'] & { max_steps: number; micro_batch_size: number; min_learning_rate: number };
}

/**
 * Checks a configuration and fills in every default.
 *
 * @throws ConfigurationError naming every problem with its path, value and what is allowed
 */
export function resolveConfig(input: PretrainConfigInput | Record<string, unknown>): PretrainConfig {
  const parsed = configSchema.safeParse(input);
  if (!parsed.success) throw new ConfigurationError(parsed.error.issues.flatMap(describeIssue(input)));
  const { extends: base, ...config } = parsed.data;
  const problems: string[] = [];
  const refuse = (path: string, value: unknown, expected: string) =>
    problems.push(`${path}: got ${show(value)}, expected ${expected}`);
  if (base !== undefined) refuse('extends', base, 'none outside a recipe file; load it with loadConfig');

  const { data, tokenizer, masking, train, samples } = config;
  const micro_batch_size = train.micro_batch_size ?? train.global_batch_size;
  const min_learning_rate = train.min_learning_rate ?? train.learning_rate / 10;
  const model = resolveModel(config.model, train.sequence_length, refuse);

  if (train.max_steps === undefined) refuse('train.max_steps', undefined, 'a whole number above 0');
  if (train.global_batch_size % micro_batch_size !== 0) {
    refuse(
      'train.micro_batch_size',
      micro_batch_size,
      `a divisor of global_batch_size ${train.global_batch_size}`,
    );
  }
  if (min_learning_rate > train.learning_rate) {
    refuse('train.min_learning_rate', min_learning_rate, `at most learning_rate ${train.learning_rate}`);
  }
  const context = model.max_position_embeddings;
  if (train.sequence_length > context) {
    refuse(
      'train.sequence_length',
      train.sequence_length,
      `at most model.max_position_embeddings ${context}`,
    );
  }
  if (samples.max_new_tokens >= context) {
    refuse(
      'samples.max_new_tokens',
      samples.max_new_tokens,
      `less than model.max_position_embeddings ${context}`,
    );
  }
  if (samples.prompts.length === 0)
    refuse('samples.prompts', [], 'at least one prompt, such as an empty one');
  if (!data.files?.length === !data.npm?.length) {
    refuse('data', { files: data.files, npm: data.npm }, 'either files or npm');
  }
  if (data.validation_files && data.validation_fraction) {
    refuse('data.validation_fraction', data.validation_fraction, 'none beside validation_files');
  }
  if ((tokenizer.path === undefined) === (tokenizer.vocab_size === undefined)) {
    refuse(
      'tokenizer',
      { path: tokenizer.path, vocab_size: tokenizer.vocab_size },
      'either path or vocab_size',
    );
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
  if (problems.length > 0) throw new ConfigurationError(problems);

  const validation_fraction = data.validation_files ? undefined : (data.validation_fraction ?? 0.05);
  return {
    ...config,
    model,
    data: { ...data, validation_fraction, cache_dir: data.cache_dir ?? defaultCacheDirectory() },
    train: { ...train, max_steps: train.max_steps!, micro_batch_size, min_learning_rate },
  };
}

/** A resolved configuration as YAML that `loadConfig` reads back to the same. */
export function configToYaml(config: PretrainConfig): string {
  return stringify(config, { keepUndefined: false });
}

type Refuse = (path: string, value: unknown, expected: string) => void;

function resolveModel(
  { preset, ...given }: Parsed['model'],
  sequenceLength: number,
  refuse: Refuse,
): PretrainConfig['model'] {
  // Ids of special tokens are the tokenizer's, not the preset's; weights are stored in float32 to resume exactly.
  const { bos_token_id, eos_token_id, pad_token_id, torch_dtype, head_dim, initializer_range, ...shape } =
    preset ? presets[preset] : ({} as Record<string, undefined>);
  const defaults = { max_position_embeddings: sequenceLength, rms_norm_eps: 1e-5, rope_theta: 10_000 };
  const keys = { ...defaults, ...shape, ...given };
  try {
    // Any size of the vocabulary will do to check the rest.
    const { vocab_size, bos_token_id, eos_token_id, pad_token_id, torch_dtype, ...checked } = parseConfig(
      { ...keys, vocab_size: keys.vocab_size ?? 64 },
      'model',
    );
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
    return { ...keys } as PretrainConfig['model'];
  }
}

function defaultCacheDirectory(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'meap');
}

type Issue = z.core.$ZodIssue;

function describeIssue(input: unknown): (issue: Issue) => string[] {
  return (issue) => {
    const path = issue.path.join('.');
    if (issue.code === 'unrecognized_keys') {
      const allowed = keysAt(issue.path);
      return issue.keys.map((key) => {
        const near = closest(key, allowed);
        const hint = near ? `; did you mean ${near}?` : '';
        return `${path ? `${path}.` : ''}${key}: unknown key${hint}; allowed here: ${allowed.join(', ')}`;
      });
    }
    const value = issue.path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown>)?.[key], input);
    const expected =
      issue.code === 'invalid_type' && issue.expected === 'object'
        ? `keys with values (${keysAt(issue.path).join(', ')})`
        : issue.message;
    return [`${path || 'configuration'}: got ${show(value)}, expected ${expected}`];
  };
}

/** Keys of the section at a path; sections are one level deep. */
function keysAt([section]: readonly PropertyKey[]): string[] {
  if (section === undefined) return Object.keys(configSchema.shape);
  const schema = configSchema.shape[section as 'model'];
  return Object.keys(schema.unwrap().shape);
}

function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** The likeliest correction of a misspelt key: few edits for its length, or a part of one. */
function closest(key: string, candidates: readonly string[]): string | undefined {
  const scored = candidates
    .map((candidate) => ({ candidate, edits: editDistance(key, candidate) }))
    .sort((a, b) => a.edits - b.edits);
  const [best] = scored;
  if (best && best.edits <= Math.max(2, key.length / 3)) return best.candidate;
  return candidates.find((candidate) => candidate.includes(key) || key.includes(candidate));
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}
