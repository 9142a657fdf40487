import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseConfig, toHuggingFaceConfig } from './config.ts';
import { ConfigError } from './errors.ts';
import { countParameters, flopsPerToken, parameterShapes } from './parameters.ts';
import { type PresetName, presets } from './presets.ts';

const minimal = {
  vocab_size: 96,
  hidden_size: 32,
  intermediate_size: 72,
  num_hidden_layers: 2,
  num_attention_heads: 4,
};

const llama3 = {
  rope_type: 'llama3',
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 8192,
};
const yarn = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 4096 };
const mistral = { model_type: 'mistral', num_key_value_heads: 2 };
const qwen2 = { model_type: 'qwen2', num_key_value_heads: 2 };
const qwen3 = { model_type: 'qwen3', num_key_value_heads: 2 };
const smollm3 = { model_type: 'smollm3' };
const windowed = ['full_attention', 'sliding_attention'];

test('refuses sizes beyond any tensor before it allocates', () => {
  const config = {
    vocab_size: 8,
    hidden_size: 8,
    intermediate_size: 8,
    num_hidden_layers: 1,
    num_attention_heads: 2,
  };
  expect(() => parseConfig({ ...config, num_hidden_layers: 1e7 })).toThrow(
    'config.num_hidden_layers: refused, got 10000000, expected a positive integer of at most 10000',
  );
  for (const key of [
    'vocab_size',
    'hidden_size',
    'intermediate_size',
    'num_attention_heads',
    'max_position_embeddings',
  ]) {
    expect(() => parseConfig({ ...config, [key]: 2 ** 31 })).toThrow(
      /expected a positive integer of at most 2147483647/,
    );
    expect(() => parseConfig({ ...config, [key]: 1.5 })).toThrow(/expected a positive integer$/);
  }
  let deep: unknown = 1;
  for (let i = 0; i < 1e5; i++) deep = [deep];
  for (const key of ['rope_scaling', 'architectures', 'layer_types', 'eos_token_id', 'other']) {
    expect(() => parseConfig({ ...config, [key]: deep })).toThrow(ConfigError);
  }
});

describe('parseConfig', () => {
  test('fills in the defaults of Hugging Face', () => {
    expect(parseConfig(minimal)).toEqual({
      ...minimal,
      num_key_value_heads: 4,
      head_dim: 8,
      max_position_embeddings: 2048,
      rms_norm_eps: 1e-6,
      rope_theta: 10_000,
      tie_word_embeddings: false,
      initializer_range: null,
      bos_token_id: null,
      eos_token_id: null,
      pad_token_id: null,
      torch_dtype: 'float32',
    });
  });

  test('reads what transformers 5 writes', () => {
    const file = new URL('../fixtures/tiny-llama/config.json', import.meta.url);
    const config = parseConfig(JSON.parse(readFileSync(file, 'utf8')));
    expect(config).toMatchObject({
      rope_theta: 5000,
      torch_dtype: 'float32',
      num_key_value_heads: 2,
      head_dim: 8,
    });
  });

  test('reads RoPE scaling in every format', () => {
    const { rope_type, ...rest } = llama3;
    const wanted = { rope_theta: 5e5, rope_scaling: llama3 };
    for (const spelling of [
      { rope_theta: 5e5, rope_scaling: llama3 },
      { rope_theta: 5e5, rope_scaling: { type: rope_type, ...rest } },
      { rope_parameters: { ...llama3, rope_theta: 5e5 } },
      { rope_theta: 5e5, rope_scaling: llama3, rope_parameters: { ...llama3, rope_theta: 5e5 } },
    ]) {
      expect(parseConfig({ ...minimal, ...spelling })).toMatchObject(wanted);
    }
    expect(parseConfig({ ...minimal, rope_scaling: { rope_type: 'default' } })).toEqual(parseConfig(minimal));
  });

  test.each([
    [{ model_type: 'llama' }, undefined, undefined],
    [{ ...mistral, sliding_window: 8 }, 8, undefined],
    [{ ...mistral }, 4096, undefined],
    [{ ...mistral, sliding_window: null }, null, undefined],
    [{ architectures: ['MistralForCausalLM'], num_key_value_heads: null }, 4096, undefined],
    [{ ...qwen2, sliding_window: 8, max_window_layers: 0 }, undefined, undefined],
    [{ ...qwen2, use_sliding_window: true, sliding_window: null }, undefined, undefined],
    [{ ...qwen2, use_sliding_window: true, sliding_window: 8 }, undefined, undefined],
    [{ ...qwen2, use_sliding_window: true, max_window_layers: 1 }, 4096, windowed],
    [{ ...qwen2, use_sliding_window: true, sliding_window: 8, layer_types: windowed }, 8, windowed],
    [{ ...qwen3, use_sliding_window: true, max_window_layers: 1 }, 4096, windowed],
    [{ ...smollm3, use_sliding_window: false, sliding_window: 8 }, undefined, undefined],
  ])('takes from %j the windows that transformers takes', (change, sliding_window, layer_types) => {
    const config = parseConfig({ ...minimal, ...change });
    expect([config.sliding_window, config.layer_types]).toEqual([sliding_window, layer_types]);
    expect(parseConfig(toHuggingFaceConfig(config))).toEqual(config);
    expect(parseConfig(config)).toEqual(config);
  });

  test('refuses two formats of RoPE that disagree on theta', () => {
    const spelling = {
      rope_scaling: { ...llama3, rope_theta: 1 },
      rope_parameters: { ...llama3, rope_theta: 2 },
    };
    expect(() => parseConfig({ ...minimal, ...spelling })).toThrow(/rope_theta: refused, got 2/);
  });

  test.each([
    [{ hidden_act: 'gelu' }, 'config.hidden_act', '"silu"'],
    [{ attention_bias: true }, 'config.attention_bias', 'false'],
    [{ mlp_bias: true }, 'config.mlp_bias', 'false'],
    [{ attention_dropout: 0.1 }, 'config.attention_dropout', '0'],
    [{ model_type: 'gemma' }, 'config.model_type', '"llama" or "mistral" or "qwen2" or "qwen3"'],
    [{ architectures: ['Gemma3ForCausalLM'] }, 'config.architectures', '["Qwen3ForCausalLM"]'],
    [{ rope_interleaved: true }, 'config.rope_interleaved', 'false'],
    [{ no_rope_layers: [1, 0] }, 'config.no_rope_layers', 'a key of a llama config'],
    [{ ...smollm3, no_rope_layers: [1] }, 'config.no_rope_layers', 'a list of 2 of 0 (no RoPE) or 1'],
    [{ ...smollm3, no_rope_layers: [1, 2] }, 'config.no_rope_layers', 'a list of 2'],
    [{ ...smollm3, use_sliding_window: true }, 'config.use_sliding_window', 'false'],
    [{ ...smollm3, layer_types: windowed }, 'config.layer_types', 'only full'],
    [{ ...qwen3, attention_bias: true }, 'config.attention_bias', 'false'],
    [{ model_type: 'olmo2', sliding_window: 8 }, 'config.sliding_window', 'a key of a olmo2 config'],
    [{ model_type: 'mistral', architectures: ['LlamaForCausalLM'] }, 'config.architectures', '["Mistral'],
    [{ rope_scaling: { rope_type: 'llama3', factor: 8 } }, 'config.rope_scaling.low_freq_factor', 'positive'],
    [{ rope_scaling: { ...llama3, high_freq_factor: 1 } }, 'config.rope_scaling.high_freq_factor', 'above'],
    [{ rope_scaling: { ...llama3, factor: 0.5 } }, 'config.rope_scaling.factor', 'from 1'],
    [{ rope_scaling: { ...llama3, beta_fast: 32 } }, 'config.rope_scaling.beta_fast', 'llama3'],
    [{ rope_scaling: { type: 'longrope', factor: 2 } }, 'config.rope_scaling.rope_type', '"llama3"'],
    [{ rope_scaling: { type: 'linear' } }, 'config.rope_scaling.factor', 'from 1'],
    [{ rope_scaling: { type: 'dynamic', factor: 0 } }, 'config.rope_scaling.factor', 'from 1'],
    [{ rope_scaling: { ...yarn, beta_fast: 1 } }, 'config.rope_scaling.beta_fast', 'above beta_slow'],
    [{ rope_scaling: { ...yarn, mscale: 1 } }, 'config.rope_scaling.mscale', 'yarn'],
    [{ rope_scaling: llama3, rope_parameters: { rope_theta: 1e4 } }, 'config.rope_parameters', 'the same'],
    [{ rope_parameters: { rope_type: 'constructor' } }, 'config.rope_parameters.rope_type', '"default"'],
    [{ rope_parameters: { rope_type: { toString: 0 } } }, 'config.rope_parameters.rope_type', '"default"'],
    [
      { rope_parameters: { partial_rotary_factor: 0.5 } },
      'config.rope_parameters.partial_rotary_factor',
      '1',
    ],
    [{ rope_parameters: 'llama3' }, 'config.rope_parameters', 'an object'],
    [{ quantization_config: { bits: 4 } }, 'config.quantization_config', 'implements'],
    [{ ...qwen2, use_mrope: true }, 'config.use_mrope', 'false'],
    [{ ...qwen2, attention_bias: true }, 'config.attention_bias', 'a key of a qwen2 config'],
    [{ ...qwen2, sliding_window: 0 }, 'config.sliding_window', 'a positive integer'],
    [{ ...qwen2, max_window_layers: -1 }, 'config.max_window_layers', 'a whole number'],
    [{ ...qwen2, layer_types: ['full_attention'] }, 'config.layer_types', 'a list of 2'],
    [{ ...qwen2, layer_types: ['full_attention', 'chunked'] }, 'config.layer_types', 'sliding_attention'],
    [{ ...qwen2, use_sliding_window: false, layer_types: windowed }, 'config.layer_types', 'only full'],
    [{ ...mistral, layer_types: windowed }, 'config.layer_types', 'a key of a mistral config'],
    [{ ...mistral, num_key_value_heads: undefined }, 'config.num_key_value_heads', 'a divisor'],
    [{ rope_parameters: { factor: 4 } }, 'config.rope_parameters.factor', 'only rope_type and rope_theta'],
    [
      { rope_theta: 1, rope_parameters: { rope_theta: 2 } },
      'config.rope_parameters.rope_theta',
      'same value',
    ],
    [{ sliding_window: 4096 }, 'config.sliding_window', 'implements'],
    [{ hidden_sise: 32 }, 'config.hidden_sise', 'implements'],
    [{ vocab_size: 0 }, 'config.vocab_size', 'a positive integer'],
    [{ vocab_size: '96' }, 'config.vocab_size', 'a positive integer'],
    [{ num_hidden_layers: undefined }, 'config.num_hidden_layers', 'a positive integer'],
    [{ num_key_value_heads: 3 }, 'config.num_key_value_heads', 'a divisor of num_attention_heads (4)'],
    [{ num_attention_heads: 5 }, 'config.hidden_size', 'a multiple of num_attention_heads (5)'],
    [{ head_dim: 7 }, 'config.head_dim', 'even'],
    [{ rms_norm_eps: Number.NaN }, 'config.rms_norm_eps', 'a positive number'],
    [{ rope_theta: -1 }, 'config.rope_theta', 'a positive number'],
    [{ tie_word_embeddings: 'yes' }, 'config.tie_word_embeddings', 'true or false'],
    [{ bos_token_id: 96 }, 'config.bos_token_id', 'below vocab_size (96)'],
    [{ eos_token_id: [2, 400] }, 'config.eos_token_id[1]', 'below vocab_size (96)'],
    [{ torch_dtype: 'int8' }, 'config.torch_dtype', '"bfloat16"'],
    [{ torch_dtype: 'float16', dtype: 'float32' }, 'config.dtype', 'the same value as torch_dtype'],
  ])('refuses %j by name', (change, path, allowed) => {
    const parse = () => parseConfig({ ...minimal, ...change });
    expect(parse).toThrow(ConfigError);
    try {
      parse();
    } catch (error) {
      expect((error as ConfigError).path).toBe(path);
      expect((error as ConfigError).allowed).toContain(allowed);
      expect((error as ConfigError).message).not.toContain('\n');
    }
  });

  test('refuses values other than objects', () => {
    expect(() => parseConfig([] as unknown as Record<string, unknown>)).toThrow(ConfigError);
  });

  test.each(Object.entries(presets))('%s survives a round trip through Hugging Face’s keys', (_, config) => {
    expect(parseConfig(JSON.parse(JSON.stringify(toHuggingFaceConfig(config))))).toEqual(config);
  });

  test('keeps initializer_range, several stop ids and another head size', () => {
    const change = { initializer_range: 0.02, eos_token_id: [2, 3], head_dim: 16, pad_token_id: 0 };
    const config = parseConfig({ ...minimal, ...change });
    expect(parseConfig(toHuggingFaceConfig(config))).toMatchObject(change);
  });
});

describe('published models', () => {
  const source = {
    _name_or_path: 'x',
    transformers_version: '4.40.0',
    use_cache: true,
    initializer_range: 0.02,
  };
  const llama = {
    ...source,
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_act: 'silu',
    attention_bias: false,
    pretraining_tp: 1,
    rms_norm_eps: 1e-5,
    rope_scaling: null,
    tie_word_embeddings: false,
    torch_dtype: 'bfloat16',
    bos_token_id: 1,
    eos_token_id: 2,
    ...shape(4096, 11008, 32, 32, 32, 32_000, 4096),
  };
  const llama32 = {
    ...llama,
    attention_dropout: 0.0,
    mlp_bias: false,
    head_dim: 128,
    rope_theta: 500_000,
    rope_scaling: {
      factor: 32.0,
      high_freq_factor: 4.0,
      low_freq_factor: 1.0,
      original_max_position_embeddings: 8192,
      rope_type: 'llama3',
    },
    tie_word_embeddings: true,
    bos_token_id: 128_000,
    eos_token_id: [128_001, 128_008, 128_009],
  };
  const mistral7b = {
    ...source,
    architectures: ['MistralForCausalLM'],
    model_type: 'mistral',
    attention_dropout: 0.0,
    hidden_act: 'silu',
    rms_norm_eps: 1e-5,
    bos_token_id: 1,
    eos_token_id: 2,
    tie_word_embeddings: false,
    torch_dtype: 'bfloat16',
    rope_theta: 10_000,
    sliding_window: 4096,
    ...shape(4096, 14_336, 32, 32, 8, 32_000, 32_768),
  };
  const qwen25 = {
    ...source,
    architectures: ['Qwen2ForCausalLM'],
    model_type: 'qwen2',
    attention_dropout: 0.0,
    hidden_act: 'silu',
    rms_norm_eps: 1e-5,
    rope_theta: 1_000_000,
    bos_token_id: 151_643,
    eos_token_id: 151_643,
    sliding_window: 131_072,
    use_sliding_window: false,
    tie_word_embeddings: false,
    torch_dtype: 'bfloat16',
    max_window_layers: 48,
    ...shape(5120, 13_824, 48, 40, 8, 152_064, 131_072),
  };

  const qwen3Small = {
    ...qwen25,
    ...shape(1024, 3072, 28, 16, 8, 151_936, 40_960),
    architectures: ['Qwen3ForCausalLM'],
    model_type: 'qwen3',
    attention_bias: false,
    head_dim: 128,
    rms_norm_eps: 1e-6,
    rope_scaling: null,
    sliding_window: null,
    max_window_layers: 28,
    tie_word_embeddings: true,
  };
  const smollm3Base = {
    ...source,
    ...shape(2048, 11_008, 36, 16, 4, 128_256, 65_536),
    architectures: ['SmolLM3ForCausalLM'],
    model_type: 'smollm3',
    attention_bias: false,
    attention_dropout: 0.0,
    mlp_bias: false,
    hidden_act: 'silu',
    layer_types: Array(36).fill('full_attention'),
    no_rope_layer_interval: 4,
    no_rope_layers: Array.from({ length: 36 }, (_, layer) => Number(layer % 4 !== 3)),
    bos_token_id: 128_000,
    eos_token_id: 128_001,
    pad_token_id: 128_004,
    max_window_layers: 28,
    pretraining_tp: 2,
    rms_norm_eps: 1e-6,
    rope_scaling: null,
    rope_theta: 5_000_000,
    sliding_window: null,
    use_sliding_window: false,
    torch_dtype: 'bfloat16',
  };
  const smollm2 = {
    ...llama,
    ...shape(576, 1536, 30, 9, 3, 49_152, 8192),
    is_llama_config: true,
    rope_interleaved: false,
    rope_theta: 100_000,
    'transformers.js_config': { kv_cache_dtype: { q4f16: 'float16' } },
    tie_word_embeddings: true,
    bos_token_id: 0,
    eos_token_id: 0,
  };
  const olmo2 = {
    ...source,
    ...shape(4096, 11_008, 32, 32, 32, 100_352, 4096),
    architectures: ['Olmo2ForCausalLM'],
    model_type: 'olmo2',
    attention_bias: false,
    attention_dropout: 0.0,
    hidden_act: 'silu',
    eos_token_id: 100_257,
    pad_token_id: 100_277,
    rms_norm_eps: 1e-6,
    rope_scaling: null,
    rope_theta: 500_000,
    tie_word_embeddings: false,
    torch_dtype: 'float32',
  };

  // Keys as in the models' config.json, sizes as their cards or safetensors headers say.
  test.each([
    ['Llama-2-7b-hf', { ...llama, torch_dtype: 'float16' }, 6_738_415_616],
    ['TinyLlama-1.1B', { ...llama, ...shape(2048, 5632, 22, 32, 4, 32_000, 2048) }, 1_100_048_384],
    [
      'Meta-Llama-3-8B',
      {
        ...llama,
        ...shape(4096, 14_336, 32, 32, 8, 128_256, 8192),
        rope_theta: 500_000.0,
        bos_token_id: 128_000,
        eos_token_id: 128_001,
      },
      8_030_261_248,
    ],
    ['Llama-3.2-3B', { ...llama32, ...shape(3072, 8192, 28, 24, 8, 128_256, 131_072) }, 3_212_749_824],
    [
      'Llama-3.2-1B',
      { ...llama32, head_dim: 64, ...shape(2048, 8192, 16, 32, 8, 128_256, 131_072) },
      1_235_814_400,
    ],
    ['Mistral-7B-v0.1', mistral7b, 7_241_732_096],
    ['Mistral-7B-v0.2', { ...mistral7b, rope_theta: 1_000_000, sliding_window: null }, 7_241_732_096],
    [
      'Llama-3.1-8B',
      { ...llama32, ...shape(4096, 14_336, 32, 32, 8, 128_256, 131_072), tie_word_embeddings: false },
      8_030_261_248,
    ],
    [
      'Llama-3.3-70B',
      { ...llama32, ...shape(8192, 28_672, 80, 64, 8, 128_256, 131_072), tie_word_embeddings: false },
      70_553_706_496,
    ],
    ['Mistral-7B-v0.3', { ...mistral7b, sliding_window: null, vocab_size: 32_768 }, 7_248_023_552],
    [
      'Mistral-Nemo',
      {
        ...mistral7b,
        head_dim: 128,
        sliding_window: null,
        ...shape(5120, 14_336, 40, 32, 8, 131_072, 131_072),
      },
      12_247_782_400,
    ],
    ['SmolLM2-135M', smollm2, 134_515_008],
    ['SmolLM3-3B', smollm3Base, 3_075_098_624],
    ['Qwen3-0.6B', qwen3Small, 596_049_920],
    [
      'Qwen3-8B',
      { ...qwen3Small, ...shape(4096, 12_288, 36, 32, 8, 151_936, 40_960), tie_word_embeddings: false },
      8_190_735_360,
    ],
    ['OLMo-2-7B', olmo2, 7_298_617_344],
    ['Qwen2.5-14B', qwen25, 14_770_033_664],
    [
      'Qwen2.5-0.5B',
      {
        ...qwen25,
        ...shape(896, 4864, 24, 14, 2, 151_936, 32_768),
        rms_norm_eps: 1e-6,
        use_mrope: false,
        max_window_layers: 24,
        tie_word_embeddings: true,
      },
      494_032_768,
    ],
  ])('%s parses and has its published size', (_, json, parameters) => {
    const config = parseConfig(json);
    expect(countParameters(config)).toBe(parameters);
    expect(parseConfig(toHuggingFaceConfig(config))).toEqual(config);
  });
});

function shape(
  hidden_size: number,
  intermediate_size: number,
  num_hidden_layers: number,
  num_attention_heads: number,
  num_key_value_heads: number,
  vocab_size: number,
  max_position_embeddings: number,
) {
  return {
    hidden_size,
    intermediate_size,
    num_hidden_layers,
    num_attention_heads,
    num_key_value_heads,
    vocab_size,
    max_position_embeddings,
  };
}

describe('parameters', () => {
  // MEAP, appendix A.1 (with vocabulary 32064), and the published size of TinyLlama.
  test.each<[PresetName, number, number]>([
    ['100m', 122.4e6, 0.05e6],
    ['300m', 324.1e6, 0.05e6],
    ['500m', 481.0e6, 0.05e6],
    ['1.1b', 1.176e9, 0.5e6],
    ['tinyllama-1.1b', 1_100_048_384, 0],
  ])('%s has the published size', (name, published, rounding) => {
    expect(Math.abs(countParameters(presets[name]) - published)).toBeLessThanOrEqual(rounding);
  });

  // flop_per_token as torch_llama_bench.py reports it for --seq 512.
  test.each<[PresetName, number]>([
    ['tiny', 37_572_096],
    ['small', 179_358_720],
    ['100m', 615_006_720],
  ])('%s costs the FLOP per token of the PyTorch benchmark', (name, flops) => {
    expect(flopsPerToken(presets[name], 512)).toBe(flops);
  });

  test('a tied head still multiplies', () => {
    const untied = parseConfig(minimal);
    const tied = parseConfig({ ...minimal, tie_word_embeddings: true });
    expect(flopsPerToken(tied, 64)).toBe(flopsPerToken(untied, 64));
    expect(countParameters(untied) - countParameters(tied)).toBe(96 * 32);
    expect(parameterShapes(tied).has('lm_head.weight')).toBe(false);
  });

  const trained = `${process.env.MEAP_DATA}/models/stories260K/config.json`;
  test.skipIf(!existsSync(trained))('a published config parses', () => {
    expect(countParameters(parseConfig(JSON.parse(readFileSync(trained, 'utf8'))))).toBe(260_032);
  });
});
