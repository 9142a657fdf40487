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

  test.each([
    [{ hidden_act: 'gelu' }, 'config.hidden_act', '"silu"'],
    [{ attention_bias: true }, 'config.attention_bias', 'false'],
    [{ mlp_bias: true }, 'config.mlp_bias', 'false'],
    [{ attention_dropout: 0.1 }, 'config.attention_dropout', '0'],
    [{ model_type: 'mistral' }, 'config.model_type', '"llama"'],
    [{ architectures: ['Qwen2ForCausalLM'] }, 'config.architectures', 'LlamaForCausalLM'],
    [{ rope_scaling: { rope_type: 'llama3', factor: 8 } }, 'config.rope_scaling', 'null'],
    [{ rope_parameters: { rope_type: 'yarn' } }, 'config.rope_parameters.rope_type', '"default"'],
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

  test('refuses what is not an object', () => {
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
