import { ConfigKeys } from './config-keys.ts';
import { ConfigError } from './errors.ts';
import { FAMILIES, type FamilyKey, type ModelType, takeModelType } from './families.ts';
import { type RopeLayerKey, takeRopeLayers } from './rope-layers.ts';
import { type RopeKey, type RopeScaling, takeRope } from './rope-scaling.ts';
import { type LayerType, takeWindows, type WindowKey, windowKeys } from './windows.ts';

/** Number format of weights in files. */
export type StoredDtype = 'float32' | 'float16' | 'bfloat16';

/**
 * A complete and validated model configuration with the keys of Hugging Face's config.json. Optional keys are those of
 * single architectures.
 */
export interface LlamaConfig {
  /** Architecture, if it is not `llama`; families.ts has their differences. */
  readonly model_type?: Exclude<ModelType, 'llama'>;
  readonly vocab_size: number;
  readonly hidden_size: number;
  /** Width of the SwiGLU feed-forward layer. */
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  /** Key/value heads; `num_attention_heads / num_key_value_heads` query heads share one. */
  readonly num_key_value_heads: number;
  /** Size of a head, even; `hidden_size / num_attention_heads` by default, 128 in a `qwen3`. */
  readonly head_dim: number;
  /** Context length in tokens; positions beyond are refused. With dynamic RoPE scaling, that of the training. */
  readonly max_position_embeddings: number;
  readonly rms_norm_eps: number;
  /** Base of the geometric series of rotary wavelengths. */
  readonly rope_theta: number;
  /** Rescaling of the rotary frequencies; absent: none. */
  readonly rope_scaling?: RopeScaling;
  /** By layer of a `smollm3`, whether it rotates queries and keys (1) or not (0). */
  readonly no_rope_layers?: readonly number[];
  /** Number of latest tokens that a query attends to in a layer with a window, itself included; null or absent: no window. */
  readonly sliding_window?: number | null;
  /** The layers of a `qwen2` or `qwen3` that have the window; absent: all of them. */
  readonly layer_types?: readonly LayerType[];
  /** Whether the output head is the embedding table. */
  readonly tie_word_embeddings: boolean;
  /** Standard deviation of initial weights, as in transformers; null: the initialisation of the MEAP authors. */
  readonly initializer_range: number | null;
  readonly bos_token_id: number | null;
  /** Ids at which generation stops. */
  readonly eos_token_id: number | readonly number[] | null;
  readonly pad_token_id: number | null;
  /** Default format of weights in a checkpoint. */
  readonly torch_dtype: StoredDtype;
}

/** The required keys of `parseConfig`; other keys have Hugging Face's defaults. */
export type LlamaConfigInput = Partial<LlamaConfig> &
  Pick<
    LlamaConfig,
    'vocab_size' | 'hidden_size' | 'intermediate_size' | 'num_hidden_layers' | 'num_attention_heads'
  >;

/** Far above any model: each layer allocates names and shapes before any weight is read. */
const MAX_LAYERS = 10_000;

/** Keys of Hugging Face's config.json that this package reads and writes. */
type HuggingFaceKey =
  | keyof LlamaConfig
  | FamilyKey
  | RopeKey
  | RopeLayerKey
  | WindowKey
  | 'dtype'
  | 'rope_interleaved';

// Keys that do not affect what the network computes.
const INERT_KEYS = new Set([
  '_name_or_path',
  '_attn_implementation_autoset',
  'auto_map',
  'is_llama_config',
  'pretraining_tp',
  'transformers.js_config',
  'transformers_version',
  'unsloth_fixed',
  'unsloth_version',
  'use_cache',
]);

/**
 * Validates a Hugging Face config of one of the architectures of {@link ModelType} and fills in defaults.
 *
 * Accepts the keys of transformers 4 (`rope_theta`, `rope_scaling`, `torch_dtype`) and 5 (`rope_parameters`, `dtype`).
 * Refuses a key or value that this package does not implement (another RoPE scaling, another activation, an unknown key)
 * by name; a key whose value is null counts as absent.
 *
 * @param source the parsed JSON, for instance the content of config.json
 * @param path prefix of the paths in error messages
 * @throws ConfigError with path, value and what is allowed
 */
export function parseConfig(
  source: LlamaConfigInput | Record<string, unknown>,
  path = 'config',
): LlamaConfig {
  const keys = new ConfigKeys<HuggingFaceKey>(
    source,
    path,
    'an object with the keys of a Hugging Face LLaMA config',
  );
  const modelType = takeModelType(keys);
  const { defaults, neutral } = FAMILIES[modelType];
  keys.takeNeutral(neutral);
  // Of SmolLM2.
  keys.takeNeutral({ rope_interleaved: false });

  const rope = takeRope(keys, defaults.rope_theta);
  const vocab_size = keys.count('vocab_size');
  const hidden_size = keys.count('hidden_size');
  const num_hidden_layers = keys.count('num_hidden_layers', undefined, MAX_LAYERS);
  const num_attention_heads = keys.count('num_attention_heads');
  const num_key_value_heads = keys.count(
    'num_key_value_heads',
    // Null, unlike absence, means the number of query heads in every architecture.
    (source.num_key_value_heads === undefined ? defaults.num_key_value_heads : undefined) ??
      num_attention_heads,
  );
  if (num_attention_heads % num_key_value_heads !== 0) {
    const divisor = `a divisor of num_attention_heads (${num_attention_heads})`;
    throw keys.refusal('num_key_value_heads', num_key_value_heads, divisor);
  }
  const defaultHeadDim = defaults.head_dim ?? hidden_size / num_attention_heads;
  if (!keys.has('head_dim') && !Number.isInteger(defaultHeadDim)) {
    const multiple = `a multiple of num_attention_heads (${num_attention_heads})`;
    throw keys.refusal('hidden_size', hidden_size, multiple, 'or give head_dim');
  }
  const head_dim = keys.number(
    'head_dim',
    'an even positive integer, because the rotary embedding rotates pairs',
    (value) => Number.isInteger(value) && value > 0 && value % 2 === 0,
    defaultHeadDim,
  );
  const windows = takeWindows(keys, modelType, {
    windowIsNull: source.sliding_window === null,
    numLayers: num_hidden_layers,
  });
  const config: LlamaConfig = Object.freeze({
    ...(modelType === 'llama' ? {} : { model_type: modelType }),
    vocab_size,
    hidden_size,
    intermediate_size: keys.count('intermediate_size'),
    num_hidden_layers,
    num_attention_heads,
    num_key_value_heads,
    head_dim,
    max_position_embeddings: keys.count('max_position_embeddings', defaults.max_position_embeddings),
    rms_norm_eps: keys.positive('rms_norm_eps', defaults.rms_norm_eps ?? 1e-6),
    ...rope,
    ...(modelType === 'smollm3' ? takeRopeLayers(keys, num_hidden_layers) : {}),
    ...windows,
    tie_word_embeddings: keys.boolean('tie_word_embeddings', defaults.tie_word_embeddings ?? false),
    initializer_range: keys.has('initializer_range') ? keys.positive('initializer_range') : null,
    bos_token_id: tokenId(keys.take('bos_token_id'), vocab_size, `${path}.bos_token_id`),
    eos_token_id: tokenIds(keys.take('eos_token_id'), vocab_size, `${path}.eos_token_id`),
    pad_token_id: padTokenId(keys.take('pad_token_id'), vocab_size, `${path}.pad_token_id`),
    torch_dtype: storedDtype(keys.take('dtype'), keys.take('torch_dtype'), path),
  });
  keys.requireNoMore(
    INERT_KEYS,
    `a key of a ${modelType} config that this package implements`,
    'remove it if the model does not depend on it',
  );
  return config;
}

/** Returns a config as transformers 4 and 5 read it. */
export function toHuggingFaceConfig(config: LlamaConfig): Record<string, unknown> {
  const {
    initializer_range,
    model_type = 'llama',
    rope_scaling,
    sliding_window,
    layer_types,
    ...rest
  } = config;
  const { architecture, neutral } = FAMILIES[model_type];
  return {
    architectures: [architecture],
    model_type,
    ...rest,
    ...(initializer_range === null ? {} : { initializer_range }),
    ...neutral,
    rope_scaling: rope_scaling ?? null,
    ...windowKeys(config, model_type, config.num_hidden_layers),
  } satisfies Partial<Record<HuggingFaceKey, unknown>>;
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

/** Published configs mark the absence of a padding id by -1 or null. */
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
