import { describe, expect, test } from 'vitest';
import { parseConfig } from './config.ts';
import { initialDeviation, initialValues } from './initialization.ts';
import { presets } from './presets.ts';

const config = presets.tiny;

function deviation(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
}

describe('initialValues', () => {
  test.each([
    ['model.embed_tokens.weight', Math.sqrt(2 / (5 * 256))],
    ['model.layers.0.self_attn.q_proj.weight', Math.sqrt(2 / (5 * 256))],
    ['model.layers.5.mlp.gate_proj.weight', Math.sqrt(2 / (5 * 256))],
    ['lm_head.weight', Math.sqrt(2 / (5 * 256))],
    ['model.layers.0.self_attn.o_proj.weight', 1 / (Math.sqrt(256) * 6)],
    ['model.layers.5.mlp.down_proj.weight', 1 / (Math.sqrt(256) * 6)],
  ])('%s has the deviation of the authors’ code', (name, expected) => {
    expect(initialDeviation(config, name)).toBeCloseTo(expected, 12);
    expect(deviation(initialValues(config, name, 3)) / expected).toBeCloseTo(1, 1.7);
  });

  test('biases are zeros', () => {
    const qwen2 = parseConfig({ ...config, model_type: 'qwen2' });
    expect(new Set(initialValues(qwen2, 'model.layers.2.self_attn.q_proj.bias', 3))).toEqual(new Set([0]));
  });

  test('norms are ones', () => {
    expect(new Set(initialValues(config, 'model.layers.2.input_layernorm.weight', 3))).toEqual(new Set([1]));
  });

  test('depend on seed and name alone', () => {
    const name = 'model.layers.1.self_attn.k_proj.weight';
    const deeper = parseConfig({ ...config, num_hidden_layers: 9, vocab_size: 100 });
    expect(initialValues(deeper, name, 3)).toEqual(initialValues(config, name, 3));
    expect(initialValues(config, name, 4)).not.toEqual(initialValues(config, name, 3));
    const sibling = 'model.layers.1.self_attn.v_proj.weight';
    expect(initialValues(config, sibling, 3)).not.toEqual(initialValues(config, name, 3));
  });

  test('initializer_range, if given, applies to all matrices', () => {
    const flat = parseConfig({ ...config, initializer_range: 0.02 });
    expect(initialDeviation(flat, 'model.layers.0.mlp.down_proj.weight')).toBe(0.02);
    expect(initialDeviation(flat, 'model.embed_tokens.weight')).toBe(0.02);
  });

  test('an unknown name is refused', () => {
    expect(() => initialValues(config, 'model.layers.6.mlp.up_proj.weight', 0)).toThrow(/no parameter/);
  });
});
