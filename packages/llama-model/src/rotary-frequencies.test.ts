import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type LlamaConfig, parseConfig } from './config.ts';
import { contextLengthOf, rotaryFrequencies } from './rotary-frequencies.ts';

interface Case {
  config: Pick<LlamaConfig, 'head_dim' | 'max_position_embeddings' | 'rope_theta' | 'rope_scaling'>;
  textLength: number | null;
  frequencies: number[];
  attentionFactor: number;
}

// Of transformers 5.24: see the script beside it.
const file = new URL('../fixtures/rotary-frequencies.json', import.meta.url);
const cases: Case[] = JSON.parse(readFileSync(file, 'utf8'));
const shape = {
  vocab_size: 8,
  hidden_size: 8,
  intermediate_size: 8,
  num_hidden_layers: 1,
  num_attention_heads: 1,
};

describe('rotaryFrequencies', () => {
  const named = cases.map((one) => {
    const { head_dim: D, rope_theta, rope_scaling } = one.config;
    return [
      `D=${D} θ=${rope_theta} ${JSON.stringify(rope_scaling)} at ${one.textLength ?? 'any length'}`,
      one,
    ] as const;
  });
  test.each(named)('equal transformers to 1e-6: %s', (_, { config, textLength, ...expected }) => {
    const parsed = parseConfig({ ...shape, ...config });
    const { radiansPerToken, attentionFactor } = rotaryFrequencies(parsed, textLength ?? undefined);
    expect(attentionFactor / expected.attentionFactor).toBeCloseTo(1, 9);
    expect(radiansPerToken).toHaveLength(config.head_dim / 2);
    radiansPerToken.forEach((frequency, pair) => {
      expect(Math.abs(frequency / expected.frequencies[pair] - 1)).toBeLessThan(1e-6);
    });
  });

  test('never grow with a factor, and those of dynamic scaling never with the text', () => {
    const base = { head_dim: 32, max_position_embeddings: 1000, rope_theta: 10_000 };
    const atMost = (a: Float32Array, b: Float32Array) => a.every((value, i) => value <= b[i] * (1 + 1e-6));
    const bound = { original_max_position_embeddings: 1000, low_freq_factor: 1, high_freq_factor: 4 };
    fc.assert(
      fc.property(
        fc.constantFrom('linear', 'dynamic', 'yarn', 'llama3'),
        fc.double({ min: 1, max: 64, noNaN: true }),
        fc.double({ min: 1, max: 8, noNaN: true }),
        fc.integer({ min: 1, max: 64_000 }),
        (rope_type, factor, more, length) => {
          const of = (factor: number, textLength: number) =>
            rotaryFrequencies({ ...base, rope_scaling: { rope_type, factor, ...bound } as never }, textLength)
              .radiansPerToken;
          expect(atMost(of(factor, length), rotaryFrequencies(base).radiansPerToken)).toBe(true);
          expect(atMost(of(factor * more, length), of(factor, length))).toBe(true);
          expect(atMost(of(factor, length * 2), of(factor, length))).toBe(true);
        },
      ),
    );
  });
});

test('contextLengthOf is the number of positions that the model accepts', () => {
  const config = { max_position_embeddings: 512 };
  expect(contextLengthOf(config)).toBe(512);
  expect(contextLengthOf({ ...config, rope_scaling: { rope_type: 'linear', factor: 4 } })).toBe(512);
  expect(contextLengthOf({ ...config, rope_scaling: { rope_type: 'dynamic', factor: 4 } })).toBe(2048);
});
