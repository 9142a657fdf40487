/** How GGUF describes the architectures of @meap/llama-model: names of tensors, order of rows, metadata. */
import { type LlamaConfig, parseConfig, type RotaryConfig, rotaryFrequencies } from '@meap/llama-model';
import { ModelError } from '../errors.ts';
import type { Metadata, MetadataBuilder } from './metadata.ts';

type ModelType = NonNullable<LlamaConfig['model_type']> | 'llama';

/** `general.architecture` of each architecture. llama.cpp runs a Mistral as a LLaMA. */
const ARCHITECTURES: Readonly<Record<ModelType, string>> = {
  llama: 'llama',
  mistral: 'llama',
  qwen2: 'qwen2',
  qwen3: 'qwen3',
  smollm3: 'smollm3',
  olmo2: 'olmo2',
};

/** Architectures whose rotary pairs are neighbours in GGUF, (x₀, x₁), instead of (x₀, x_{D/2}). */
const INTERLEAVED = new Set(['llama', 'smollm3']);

/** SmolLM3's layers without RoPE are not in a file: llama.cpp takes every fourth. */
const NO_ROPE_INTERVAL = 4;

const MODULES: Readonly<Record<string, string>> = {
  input_layernorm: 'attn_norm',
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  'self_attn.q_norm': 'attn_q_norm',
  'self_attn.k_norm': 'attn_k_norm',
  post_attention_layernorm: 'ffn_norm',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
  post_feedforward_layernorm: 'post_ffw_norm',
};

/** Factors that divide the rotary frequencies, `[head_dim / 2]`: Llama 3.1's rescaling in GGUF. */
export const ROPE_FACTORS = 'rope_freqs.weight';

/** GGUF's name of the output head. */
export const OUTPUT = 'output.weight';

/** The name in GGUF of a tensor of Hugging Face, such as `model.layers.0.self_attn.q_proj.weight`. */
export function tensorName({ model_type }: LlamaConfig, name: string): string {
  if (name === 'model.embed_tokens.weight') return 'token_embd.weight';
  if (name === 'model.norm.weight') return 'output_norm.weight';
  if (name === 'lm_head.weight') return OUTPUT;
  const [, layer, module, kind] = /^model\.layers\.(\d+)\.(.+)\.(weight|bias)$/.exec(name)!;
  const isOutputNorm = model_type === 'olmo2' && module === 'post_attention_layernorm';
  return `blk.${layer}.${isOutputNorm ? 'post_attention_norm' : MODULES[module]}.${kind}`;
}

/**
 * Reorders the rows of queries and keys between the layouts of rotary pairs; other tensors and architectures are unchanged.
 *
 * @param values `[heads · D, columns]`, or the bias `[heads · D]`
 */
export function reorderPairs(
  values: Float32Array,
  name: string,
  config: LlamaConfig,
  to: 'gguf' | 'huggingface',
): Float32Array {
  if (!/\.[qk]_proj\.(weight|bias)$/.test(name) || !INTERLEAVED.has(architectureOf(config))) return values;
  const D = config.head_dim;
  const heads = name.includes('.q_proj') ? config.num_attention_heads : config.num_key_value_heads;
  const columns = values.length / (heads * D);
  const result = new Float32Array(values.length);
  for (let head = 0; head < heads; head++) {
    for (let i = 0; i < D; i++) {
      const split = head * D + i;
      const neighbour = head * D + (i < D / 2 ? 2 * i : 2 * (i - D / 2) + 1);
      const [from, into] = to === 'gguf' ? [split, neighbour] : [neighbour, split];
      result.set(values.subarray(from * columns, (from + 1) * columns), into * columns);
    }
  }
  return result;
}

/** @throws ModelError for a model that llama.cpp would run differently */
export function requireArchitecture(config: LlamaConfig): void {
  const refuse = (key: keyof LlamaConfig, expected: string) => {
    const value = JSON.stringify(config[key]);
    throw new ModelError(`GGUF cannot hold ${key} of this model, got ${value}, expected ${expected}`);
  };
  if (config.layer_types) refuse('layer_types', 'no sliding window');
  const { no_rope_layers: flags, rope_scaling: scaling } = config;
  if (flags?.some((flag, layer) => flag !== Number((layer + 1) % NO_ROPE_INTERVAL !== 0))) {
    refuse('no_rope_layers', `0 in every ${NO_ROPE_INTERVAL}th layer alone`);
  }
  if (scaling?.rope_type === 'dynamic') refuse('rope_scaling', 'one of linear, yarn and llama3');
  if (scaling?.rope_type === 'yarn' && scaling.attention_factor !== undefined) {
    refuse('rope_scaling', 'a yarn scaling with the default attention_factor');
  }
  const { head_dim, hidden_size, num_attention_heads } = config;
  if (config.model_type === 'olmo2' && head_dim * num_attention_heads !== hidden_size) {
    refuse('head_dim', `hidden_size / num_attention_heads (${hidden_size / num_attention_heads})`);
  }
}

/** Whether llama.cpp requires a stored head even if it is the embedding table. */
export function storesTiedHead({ model_type, tie_word_embeddings }: LlamaConfig): boolean {
  return model_type === 'olmo2' && tie_word_embeddings;
}

function architectureOf({ model_type }: LlamaConfig): string {
  return ARCHITECTURES[model_type ?? 'llama'];
}

/** Context that llama.cpp computes as the model does: it has no sliding window in these architectures. */
export function contextOf({ max_position_embeddings, sliding_window }: LlamaConfig): number {
  return Math.min(max_position_embeddings, sliding_window ?? max_position_embeddings);
}

/** Adds the hyperparameters of a model. */
export function writeArchitecture(metadata: MetadataBuilder, config: LlamaConfig): void {
  const architecture = architectureOf(config);
  const key = (name: string) => `${architecture}.${name}`;
  metadata.text('general.architecture', architecture);
  metadata.count(key('vocab_size'), config.vocab_size);
  metadata.count(key('context_length'), contextOf(config));
  metadata.count(key('embedding_length'), config.hidden_size);
  metadata.count(key('block_count'), config.num_hidden_layers);
  metadata.count(key('feed_forward_length'), config.intermediate_size);
  metadata.count(key('attention.head_count'), config.num_attention_heads);
  metadata.count(key('attention.head_count_kv'), config.num_key_value_heads);
  metadata.count(key('attention.key_length'), config.head_dim);
  metadata.count(key('attention.value_length'), config.head_dim);
  metadata.number(key('attention.layer_norm_rms_epsilon'), config.rms_norm_eps);
  metadata.count(key('rope.dimension_count'), config.head_dim);
  metadata.number(key('rope.freq_base'), config.rope_theta);
  const scaling = config.rope_scaling;
  if (scaling?.rope_type === 'linear' || scaling?.rope_type === 'yarn') {
    metadata.text(key('rope.scaling.type'), scaling.rope_type);
    metadata.number(key('rope.scaling.factor'), scaling.factor);
  }
  if (scaling?.rope_type === 'yarn') {
    if (scaling.beta_fast) metadata.number(key('rope.scaling.yarn_beta_fast'), scaling.beta_fast);
    if (scaling.beta_slow) metadata.number(key('rope.scaling.yarn_beta_slow'), scaling.beta_slow);
  }
  if (scaling?.rope_type === 'yarn' || scaling?.rope_type === 'llama3') {
    metadata.count(key('rope.scaling.original_context_length'), scaling.original_max_position_embeddings);
  }
}

/** The factors of {@link ROPE_FACTORS}, if the model has Llama 3.1's rescaling. */
export function ropeFactors(config: RotaryConfig): Float32Array | undefined {
  if (config.rope_scaling?.rope_type !== 'llama3') return undefined;
  const { radiansPerToken: plain } = rotaryFrequencies({ ...config, rope_scaling: undefined });
  const { radiansPerToken: scaled } = rotaryFrequencies(config);
  return plain.map((frequency, pair) => frequency / scaled[pair]);
}

/** What a file says of a model besides its metadata. */
export interface FileFacts {
  readonly vocabSize: number;
  readonly hasHead: boolean;
  readonly ropeFactors: Float32Array | undefined;
  readonly specialIds: Pick<LlamaConfig, 'bos_token_id' | 'eos_token_id' | 'pad_token_id'>;
  readonly dtype: LlamaConfig['torch_dtype'];
}

/** Reads the hyperparameters of a model. @throws ModelError or ConfigError for one that is not supported */
export function readArchitecture(path: string, metadata: Metadata, facts: FileFacts): LlamaConfig {
  const architecture = metadata.text('general.architecture');
  const known = [...new Set(Object.values(ARCHITECTURES))];
  if (!known.includes(architecture)) {
    throw metadata.refusal('general.architecture', architecture, known.join(', '));
  }
  const key = (name: string) => `${architecture}.${name}`;
  // Float32 numbers that were decimal fractions.
  const decimal = (name: string) => Number(metadata.number(key(name)).toPrecision(7));
  const heads = metadata.number(key('attention.head_count'));
  const width = metadata.number(key('embedding_length'));
  const head_dim = metadata.optionalNumber(key('attention.key_length')) ?? width / heads;
  for (const name of ['attention.value_length', 'rope.dimension_count']) {
    const size = metadata.optionalNumber(key(name)) ?? head_dim;
    if (size !== head_dim) throw metadata.refusal(key(name), size, `the size of a key (${head_dim})`);
  }
  for (const name of ['expert_count', 'attention.sliding_window']) {
    if (metadata.optionalNumber(key(name)))
      throw metadata.refusal(key(name), metadata.number(key(name)), '0');
  }
  const base = {
    model_type: architecture as ModelType,
    vocab_size: facts.vocabSize,
    hidden_size: width,
    intermediate_size: metadata.number(key('feed_forward_length')),
    num_hidden_layers: metadata.number(key('block_count')),
    num_attention_heads: heads,
    num_key_value_heads: metadata.optionalNumber(key('attention.head_count_kv')) ?? heads,
    head_dim,
    max_position_embeddings: metadata.number(key('context_length')),
    rms_norm_eps: decimal('attention.layer_norm_rms_epsilon'),
    rope_theta: metadata.has(key('rope.freq_base')) ? decimal('rope.freq_base') : 10_000,
    tie_word_embeddings: !facts.hasHead,
    torch_dtype: facts.dtype,
    ...facts.specialIds,
  };
  return parseConfig({ ...base, rope_scaling: readScaling(metadata, key, base, facts.ropeFactors) }, path);
}

function readScaling(
  metadata: Metadata,
  key: (name: string) => string,
  rotary: Omit<RotaryConfig, 'rope_scaling'>,
  factors: Float32Array | undefined,
): object | undefined {
  const typeKey = key('rope.scaling.type');
  const type = metadata.has(typeKey) ? metadata.text(typeKey) : 'none';
  const originalKey = key('rope.scaling.original_context_length');
  if (factors) {
    // The file has only the result of the rescaling: these are its parameters in every published model.
    const scaling = {
      rope_type: 'llama3' as const,
      factor: Math.round(Math.max(...factors)),
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: metadata.optionalNumber(originalKey) ?? 8192,
    };
    const expected = ropeFactors({ ...rotary, rope_scaling: scaling })!;
    const fits = factors.length === expected.length;
    if (fits && factors.every((factor, pair) => Math.abs(factor / expected[pair] - 1) < 1e-4)) return scaling;
    throw metadata.refusal(ROPE_FACTORS, [...factors], "Llama 3.1's rescaling");
  }
  if (type === 'none') return undefined;
  if (type !== 'linear' && type !== 'yarn') throw metadata.refusal(typeKey, type, 'none, linear or yarn');
  const factor = metadata.number(key('rope.scaling.factor'));
  if (type === 'linear') return { rope_type: type, factor };
  return {
    rope_type: type,
    factor,
    original_max_position_embeddings: metadata.number(originalKey),
    beta_fast: metadata.optionalNumber(key('rope.scaling.yarn_beta_fast')),
    beta_slow: metadata.optionalNumber(key('rope.scaling.yarn_beta_slow')),
  };
}
