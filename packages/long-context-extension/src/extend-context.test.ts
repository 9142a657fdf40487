import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  contextLengthOf,
  KeyValueCache,
  Llama,
  type LlamaConfig,
  loadLlama,
  parseConfig,
  rotaryFrequencies,
  saveLlama,
  toHuggingFaceConfig,
} from '@meap/llama-model';
import { setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EXTENSION_METHODS, ExtensionError, type ExtensionMethod, extendContext } from './index.ts';

const config = parseConfig({
  vocab_size: 8,
  hidden_size: 128,
  intermediate_size: 8,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  max_position_embeddings: 4096,
});
const methods = fc.constantFrom(...EXTENSION_METHODS);
const lengths = fc.integer({ min: 4097, max: 1_000_000 });

describe('extendContext', () => {
  test('defaults to the extension of the MEAP paper', () => {
    const extended = extendContext(config, { contextLength: 65_536 });
    expect(extended).toEqual({ ...config, rope_theta: 640_000, max_position_embeddings: 65_536 });
  });

  test('gives the requested context, in keys that parse to the same config', () => {
    fc.assert(
      fc.property(methods, lengths, (method, length) => {
        const extended = extendContext(config, { contextLength: length, method });
        expect(contextLengthOf(extended)).toBe(length);
        expect(parseConfig(JSON.parse(JSON.stringify(toHuggingFaceConfig(extended))))).toEqual(extended);
      }),
    );
  });

  test('slows every pair down, within the bounds of its method', () => {
    const before = rotaryFrequencies(config).radiansPerToken;
    const near = 1e-6;
    fc.assert(
      fc.property(methods, lengths, (method, length) => {
        const { radiansPerToken } = rotaryFrequencies(
          extendContext(config, { contextLength: length, method }),
        );
        const s = length / 4096;
        radiansPerToken.forEach((after, pair) => {
          const slowing = before[pair] / after;
          expect(slowing).toBeGreaterThan(1 - near);
          if (method === 'linear') expect(slowing / s).toBeCloseTo(1, 5);
          // NTK-aware: 1 for the fastest pair, s for the slowest, a geometric series between.
          if (method === 'ntk') expect(slowing / s ** (pair / 31)).toBeCloseTo(1, 4);
          if (method === 'yarn' || method === 'llama3') expect(slowing).toBeLessThan(s * (1 + near));
        });
        if (method !== 'linear') expect(radiansPerToken[0]).toBeCloseTo(1, 5);
      }),
    );
  });

  test.each([
    [{ contextLength: 4096 }, 'contextLength: got 4096, expected a whole number above the context of 4096'],
    [{ contextLength: 5000.5 }, 'contextLength: got 5000.5'],
    [
      { contextLength: 8192, ropeTheta: 10_000 },
      'ropeTheta: got 10000, expected a number above the model’s base',
    ],
    [{ contextLength: 8192, ropeTheta: Number.NaN }, 'ropeTheta: got null'],
    [{ contextLength: 8192, method: 'yarn', ropeTheta: 1e6 }, 'ropeTheta: got 1000000, expected none with'],
    [{ contextLength: 8192, method: 'longrope' }, 'method: got "longrope", expected one of theta, linear'],
  ] as [Parameters<typeof extendContext>[1], string][])('refuses %j', (options, message) => {
    expect(() => extendContext(config, options)).toThrow(message);
    expect(() => extendContext(config, options)).toThrow(ExtensionError);
  });

  test('refuses a rescaled model, and one whose base exceeds that of the paper', () => {
    const scaled = extendContext(config, { contextLength: 8192, method: 'yarn' });
    expect(() => extendContext(scaled, { contextLength: 16_384 })).toThrow(
      'config.rope_scaling: got "yarn", expected none; extend the original model',
    );
    const qwen = { ...config, rope_theta: 1_000_000 };
    expect(() => extendContext(qwen, { contextLength: 8192 })).toThrow('ropeTheta: got 640000, expected');
  });
});

const stories = join(process.env.MEAP_DATA!, 'models/stories260K');
// Of transformers 5.24: see the script beside it.
const witness: {
  positions: number[];
  methods: Record<ExtensionMethod, { keys: Partial<LlamaConfig>; logits: number[][]; cached?: number[] }>;
} = JSON.parse(readFileSync(join(import.meta.dirname, '../fixtures/extended-logits.json'), 'utf8'));

describe.skipIf(!existsSync(stories))('stories260K, trained on 512 tokens, extended to 4096', () => {
  const folder = mkdtempSync(join(tmpdir(), 'extended-'));
  const text = [1, ...Array.from({ length: 4095 }, (_, i) => 3 + ((i * i * 31 + 7 * i) % 500))];
  const ids = (start: number, end: number) => tf.tensor2d(text.slice(start, end), [1, end - start], 'int32');
  let trained: Llama;
  beforeAll(async () => {
    await setBackend('auto');
    trained = await loadLlama(stories);
  });
  afterAll(() => {
    trained.dispose();
    rmSync(folder, { recursive: true });
  });

  test.each(EXTENSION_METHODS)('%s: logits of transformers far beyond the training', async (method) => {
    const expected = witness.methods[method];
    const extended = extendContext(trained.config, { contextLength: 4096, method });
    await saveLlama(join(folder, method), new Llama(extended, trained.parameters));
    const written = JSON.parse(readFileSync(join(folder, method, 'config.json'), 'utf8'));
    expect(written).toMatchObject(expected.keys);

    const model = await loadLlama(join(folder, method));
    const logits = tf.tidy(() => model.logits(ids(0, 4096)).gather(witness.positions, 1).dataSync());
    const vocabulary = model.config.vocab_size;
    expected.logits.forEach((row, i) => {
      row.forEach((value, id) => {
        expect(Math.abs(logits[i * vocabulary + id] - value)).toBeLessThan(2e-3);
      });
    });
    model.dispose();
  });

  test('dynamic: a prompt in pieces and its continuation match transformers', async () => {
    const model = await loadLlama(join(folder, 'dynamic'));
    const cache = new KeyValueCache({ textLength: 1000 });
    let last: ArrayLike<number> = [];
    for (let at = 0; at < 1010; at += at < 1000 ? 250 : 1) {
      const end = at < 1000 ? at + 250 : at + 1;
      last = tf.tidy(() => model.logits(ids(at, end), { cache }).dataSync().slice(-512));
    }
    witness.methods.dynamic.cached!.forEach((value, id) => {
      expect(Math.abs(last[id] - value)).toBeLessThan(2e-3);
    });
    cache.dispose();
    model.dispose();
  });
});
