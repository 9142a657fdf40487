import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { beforeEach, describe, expect, test } from 'vitest';
import { AdapterError, ConfigError } from './errors.ts';
import { addLora, growVocabulary, type Llama, loadLlama, saveLlama } from './index.ts';
import { architecture, backends, distance, tokens } from './testing.ts';

const [TIED, UNTIED] = ['llama-3.2', 'llama-3'];
const VOCABULARY = 80;

function probabilities(model: Llama, ids: number[][]): number[][] {
  return tf.tidy(() =>
    tf
      .softmax(model.logits(tokens(ids)))
      .reshape([-1, model.config.vocab_size])
      .arraySync(),
  ) as number[][];
}

describe.each(backends)('growVocabulary on %s', (backend) => {
  beforeEach(async () => {
    await setBackend(backend);
  });

  test.each([
    [TIED, 1, 81],
    [UNTIED, 1, 81],
    [UNTIED, 16, 96],
  ])('%s, to a multiple of %d, has %d rows: the old ones and their mean', async (name, multipleOf, rows) => {
    const { directory } = architecture(name);
    const model = await loadLlama(directory);
    const numTensors = tf.memory().numTensors;
    const before = new Map([...model.parameters].map(([name, p]) => [name, p.dataSync().slice()]));
    const grown = growVocabulary(model, { size: 81, multipleOf });
    expect(tf.memory().numTensors).toBe(numTensors);
    expect(grown.config).toEqual({ ...model.config, vocab_size: rows });
    expect(Object.isFrozen(grown.config)).toBe(true);
    for (const [name, parameter] of grown.parameters) {
      const values = parameter.dataSync();
      const old = before.get(name)!;
      expect(distance(values.subarray(0, old.length), old)).toBe(0);
      const added = (values.length - old.length) / 32;
      expect(added).toBe(/embed_tokens|lm_head/.test(name) ? rows - VOCABULARY : 0);
      for (let row = VOCABULARY; row < VOCABULARY + added; row++) {
        for (let column = 0; column < 32; column++) {
          let mean = 0;
          for (let i = 0; i < VOCABULARY; i++) mean += old[i * 32 + column] / VOCABULARY;
          expect(values[row * 32 + column]).toBeCloseTo(mean, 5);
        }
      }
    }
    grown.dispose();
  });

  test.each([TIED, UNTIED])('%s predicts as before: new ids take less than their share', async (name) => {
    const { directory, expected } = architecture(name);
    const model = await loadLlama(directory);
    const before = probabilities(model, expected.ids);
    const grown = growVocabulary(model, { size: 83 });
    const after = probabilities(grown, expected.ids);
    before.forEach((row, i) => {
      const taken = after[i].slice(VOCABULARY).reduce((a, b) => a + b, 0);
      expect(taken).toBeLessThanOrEqual(3 / 83 + 1e-6);
      row.forEach((p, id) => {
        expect(after[i][id]).toBeCloseTo(p * (1 - taken), 5);
      });
    });
    // A new id is an input like any other, and the row learns.
    const masked = expected.ids.map((row) => row.map((id, i) => (i % 3 === 1 ? 80 : id)));
    const norm = tf.tidy(() => {
      const loss = () => grown.loss(tokens(masked), tokens(expected.ids)).sum;
      const table = grown.parameters.get('model.embed_tokens.weight')!;
      const { grads } = tf.variableGrads(loss, [table]);
      return tf.norm(grads[table.name].slice([80, 0], [1, 32])).dataSync()[0];
    });
    expect(norm).toBeGreaterThan(1e-3);
    grown.dispose();
  });
});

describe('growVocabulary', () => {
  let model: Llama;
  beforeEach(async () => {
    await setBackend('cpu');
    model = await loadLlama(architecture(TIED).directory);
    return () => model.dispose();
  });

  test('is saved and loaded with its new size', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'llama-model-'));
    model = growVocabulary(model, { size: 81 });
    await saveLlama(directory, model, { dtype: 'float32' });
    const loaded = await loadLlama(directory);
    expect(loaded.config).toEqual({ ...model.config, torch_dtype: 'float32' });
    const [a, b] = [model, loaded].map((m) => tf.tidy(() => m.logits(tokens([[80, 3, 80]])).dataSync()));
    expect(distance(a, b)).toBe(0);
    loaded.dispose();
    await rm(directory, { recursive: true });
  });

  test('leaves a table unchanged that is large enough', () => {
    expect(growVocabulary(model, { size: 80 })).toBe(model);
    expect(growVocabulary(model, { size: 12, multipleOf: 64 })).toBe(model);
    expect(model.config.vocab_size).toBe(80);
  });

  test('refuses invalid sizes, and a model with an adapter', () => {
    expect(() => growVocabulary(model, { size: 80.5 })).toThrow(ConfigError);
    expect(() => growVocabulary(model, { size: -1 })).toThrow(/growVocabulary.size: refused, got -1/);
    expect(() => growVocabulary(model, { size: 90, multipleOf: 0 })).toThrow(/growVocabulary.multipleOf/);
    addLora(model, { rank: 1, seed: 0 });
    expect(() => growVocabulary(model, { size: 90 })).toThrow(AdapterError);
  });
});
