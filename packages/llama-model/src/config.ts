import { ConfigError } from './errors.ts';

/** Number format of stored weights; in memory they are always float32. */
export type StoredDtype = 'float32' | 'float16' | 'bfloat16';

/** A LLaMA's shape under the keys of Hugging Face's config.json, complete and validated. */
export interface LlamaConfig {
  readonly vocab_size: number;
  readonly hidden_size: number;
  /** Width of the SwiGLU feed-forward layer. */
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  /** Key/value heads; `num_attention_heads / num_key_value_heads` query heads share one. */
  readonly num_key_value_heads: number;
  /** Width of one head, even; `hidden_size / num_attention_heads` unless given. */
  readonly head_dim: number;
  /** Longest context in tokens; positions beyond it are refused. */
  readonly max_position_embeddings: number;
  readonly rms_norm_eps: number;
  /** Base of the rotary embedding's geometric series of wavelengths. */
  readonly rope_theta: number;
  /** True: the output head is the embedding table. */
  readonly tie_word_embeddings: boolean;
  /** Standard deviation of fresh weights, as in transformers; null draws them as the MEAP authors do. */
  readonly initializer_range: number | null;
  readonly bos_token_id: number | null;
  /** Ids that end a text; generation stops at them. */
  readonly eos_token_id: number | readonly number[] | null;
  readonly pad_token_id: number | null;
  /** Format in which a checkpoint is written unless told otherwise. */
  readonly torch_dtype: StoredDtype;
}

/** What `parseConfig` needs at least; every other key has Hugging Face's default. */
export type LlamaConfigInput = Partial<LlamaConfig> &
  Pick<
    LlamaConfig,
    'vocab_size' | 'hidden_size' | 'intermediate_size' | 'num_hidden_layers' | 'num_attention_heads'
  >;

// Keys that say nothing about what the network computes: where the file came from, how it is to be served.
const INERT_KEYS = new Set([
  '_name_or_path',
  'auto_map',
  'pretraining_tp',
  'transformers_version',
  'use_cache',
  '_attn_implementation_autoset',
]);

// Keys of a LLaMA config that we understand only at the value where they change nothing.
const NEUTRAL_VALUES: Record<string, unknown> = {
  model_type: 'llama',
  hidden_act: 'silu',
  attention_bias: false,
  mlp_bias: false,
  attention_dropout: 0,
};

/**
 * Validates a Hugging Face LLaMA config and fills in its defaults.
 *
 * Accepts the spelling of transformers 4 (`rope_theta`, `torch_dtype`) and of 5 (`rope_parameters`, `dtype`).
 * A key that would change the network in a way this package does not implement (biases, RoPE scaling, another
 * activation, anything unknown) is refused by name rather than ignored; a key whose value is null is absent.
 *
 * @param source the parsed JSON, for instance the content of config.json
 * @param path prefix of the paths in error messages
 * @throws ConfigError with path, value and what is allowed
 */
export function parseConfig(
  source: LlamaConfigInput | Record<string, unknown>,
  path = 'config',
): LlamaConfig {
  if (typeof source !== 'object' || source === null || Array.isArray(source)) {
    throw new ConfigError(path, source, 'an object with the keys of a Hugging Face LLaMA config');
  }
  const keys = new Map<string, unknown>(
    Object.entries(source).filter(([, value]) => value !== null && value !== undefined),
  );
  const take = (key: string): unknown => {
    const value = keys.get(key);
    keys.delete(key);
    return value;
  };
  const number = (
    key: string,
    allowed: string,
    accepts: (value: number) => boolean,
    preset?: number,
  ): number => {
    const value = take(key) ?? preset;
    if (typeof value !== 'number' || !Number.isFinite(value) || !accepts(value)) {
      throw new ConfigError(`${path}.${key}`, value, allowed);
    }
    return value;
  };
  const count = (key: string, preset?: number): number =>
    number(key, 'a positive integer', (value) => Number.isInteger(value) && value > 0, preset);

  takeNeutralKeys(take, path);
  takeRopeParameters(keys, path);
  const vocab_size = count('vocab_size');
  const hidden_size = count('hidden_size');
  const num_attention_heads = count('num_attention_heads');
  const num_key_value_heads = count('num_key_value_heads', num_attention_heads);
  if (num_attention_heads % num_key_value_heads !== 0) {
    throw new ConfigError(
      `${path}.num_key_value_heads`,
      num_key_value_heads,
      `a divisor of num_attention_heads (${num_attention_heads})`,
    );
  }
  if (!keys.has('head_dim') && hidden_size % num_attention_heads !== 0) {
    throw new ConfigError(
      `${path}.hidden_size`,
      hidden_size,
      `a multiple of num_attention_heads (${num_attention_heads})`,
      'or give head_dim',
    );
  }
  const head_dim = number(
    'head_dim',
    'an even positive integer, because the rotary embedding turns pairs',
    (value) => Number.isInteger(value) && value > 0 && value % 2 === 0,
    hidden_size / num_attention_heads,
  );
  const positive = (value: number) => value > 0;
  const config: LlamaConfig = Object.freeze({
    vocab_size,
    hidden_size,
    intermediate_size: count('intermediate_size'),
    num_hidden_layers: count('num_hidden_layers'),
    num_attention_heads,
    num_key_value_heads,
    head_dim,
    max_position_embeddings: count('max_position_embeddings', 2048),
    rms_norm_eps: number('rms_norm_eps', 'a positive number', positive, 1e-6),
    rope_theta: number('rope_theta', 'a positive number', positive, 10_000),
    tie_word_embeddings: boolean(take('tie_word_embeddings') ?? false, `${path}.tie_word_embeddings`),
    initializer_range: keys.has('initializer_range')
      ? number('initializer_range', 'a positive number', positive)
      : null,
    bos_token_id: tokenId(take('bos_token_id'), vocab_size, `${path}.bos_token_id`),
    eos_token_id: tokenIds(take('eos_token_id'), vocab_size, `${path}.eos_token_id`),
    pad_token_id: padTokenId(take('pad_token_id'), vocab_size, `${path}.pad_token_id`),
    torch_dtype: storedDtype(take('dtype'), take('torch_dtype'), path),
  });
  for (const [key, value] of keys) {
    if (!INERT_KEYS.has(key)) {
      throw new ConfigError(
        `${path}.${key}`,
        value,
        'a key of a LLaMA config that this package implements',
        'remove it if the model does not depend on it',
      );
    }
  }
  return config;
}

/** Writes a config as transformers 4 and 5 read it. */
export function toHuggingFaceConfig(config: LlamaConfig): Record<string, unknown> {
  const { initializer_range, ...rest } = config;
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    ...rest,
    ...(initializer_range === null ? {} : { initializer_range }),
    hidden_act: 'silu',
    attention_bias: false,
    mlp_bias: false,
    attention_dropout: 0,
    rope_scaling: null,
  };
}

function takeNeutralKeys(take: (key: string) => unknown, path: string): void {
  for (const [key, neutral] of Object.entries(NEUTRAL_VALUES)) {
    const value = take(key);
    if (value !== undefined && value !== neutral) {
      throw new ConfigError(`${path}.${key}`, value, JSON.stringify(neutral), 'nothing else is implemented');
    }
  }
  const architectures = take('architectures');
  if (
    architectures !== undefined &&
    !(Array.isArray(architectures) && architectures[0] === 'LlamaForCausalLM')
  ) {
    throw new ConfigError(`${path}.architectures`, architectures, '["LlamaForCausalLM"]');
  }
  const scaling = take('rope_scaling');
  if (scaling !== undefined) {
    throw new ConfigError(`${path}.rope_scaling`, scaling, 'null', 'RoPE scaling is not implemented');
  }
}

/** Replaces transformers 5's `rope_parameters` by the `rope_theta` it holds. */
function takeRopeParameters(keys: Map<string, unknown>, path: string): void {
  const parameters = keys.get('rope_parameters');
  if (parameters === undefined) return;
  keys.delete('rope_parameters');
  const { rope_theta, rope_type = 'default', ...others } = Object(parameters) as Record<string, unknown>;
  if (rope_type !== 'default') {
    throw new ConfigError(
      `${path}.rope_parameters.rope_type`,
      rope_type,
      '"default"',
      'RoPE scaling is not implemented',
    );
  }
  for (const [key, value] of Object.entries(others)) {
    throw new ConfigError(`${path}.rope_parameters.${key}`, value, 'only rope_type and rope_theta');
  }
  if (rope_theta === undefined) return;
  if (keys.has('rope_theta') && keys.get('rope_theta') !== rope_theta) {
    throw new ConfigError(
      `${path}.rope_parameters.rope_theta`,
      rope_theta,
      `the same value as rope_theta (${keys.get('rope_theta')})`,
    );
  }
  keys.set('rope_theta', rope_theta);
}

function boolean(value: unknown, path: string): boolean {
  if (typeof value !== 'boolean') throw new ConfigError(path, value, 'true or false');
  return value;
}

function tokenId(value: unknown, vocabularySize: number, path: string): number | null {
  if (value === undefined) return null;
  if (!Number.isInteger(value) || (value as number) < 0 || (value as number) >= vocabularySize) {
    throw new ConfigError(path, value, `a token id below vocab_size (${vocabularySize})`);
  }
  return value as number;
}

function tokenIds(value: unknown, vocabularySize: number, path: string): number | readonly number[] | null {
  if (!Array.isArray(value)) return tokenId(value, vocabularySize, path);
  return Object.freeze(value.map((id, index) => tokenId(id, vocabularySize, `${path}[${index}]`) as number));
}

/** Published configs name "no padding" by -1 as well as by null. */
function padTokenId(value: unknown, vocabularySize: number, path: string): number | null {
  return value === -1 ? null : tokenId(value, vocabularySize, path);
}

function storedDtype(dtype: unknown, torchDtype: unknown, path: string): StoredDtype {
  const key = dtype === undefined ? 'torch_dtype' : 'dtype';
  const value = dtype ?? torchDtype ?? 'float32';
  if (dtype !== undefined && torchDtype !== undefined && dtype !== torchDtype) {
    throw new ConfigError(
      `${path}.dtype`,
      dtype,
      `the same value as torch_dtype (${JSON.stringify(torchDtype)})`,
    );
  }
  if (value !== 'float32' && value !== 'float16' && value !== 'bfloat16') {
    throw new ConfigError(`${path}.${key}`, value, '"float32", "float16" or "bfloat16"');
  }
  return value;
}
