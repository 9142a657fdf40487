import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setBackend } from '@meap/tensor-kernels';
import { checkVariableGradients } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { beforeEach, describe, expect, test } from 'vitest';
import { parseConfig } from './config.ts';
import { generate, KeyValueCache, loadLlama, saveLlama } from './index.ts';
import { architecture, backends, collect, distance, gradients, tokens } from './testing.ts';

const recent = ['qwen3', 'smollm3', 'mistral-nemo', 'olmo2'];
const names = [
  'llama-2',
  'llama-3',
  'llama-3.2',
  'tinyllama',
  'mistral-v0.1',
  'mistral-v0.2',
  'qwen2',
  'qwen2.5',
  'qwen2-windows',
  'qwen2-layer-types',
  ...recent,
];

describe.each(backends)('on %s', (backend) => {
  beforeEach(async () => {
    await setBackend(backend);
  });

  describe.each(names)('%s', (name) => {
    const { directory, expected } = architecture(name);

    test('has the logits of transformers', async () => {
      const model = await loadLlama(directory);
      const logits = tf.tidy(() => model.logits(tokens(expected.ids)).dataSync());
      expect(distance(logits, expected.logits.flat(2))).toBeLessThan(1e-4);
      model.dispose();
    });

    test('continues greedily with a cache as transformers does, past its window', async () => {
      const model = await loadLlama(directory);
      const prompt = expected.ids[0];
      const maxNewTokens = expected.greedy.length - prompt.length;
      const ids = await collect(generate(model, prompt, { maxNewTokens, stopIds: [] }));
      expect([...prompt, ...ids]).toEqual(expected.greedy);
      model.dispose();
    });
  });

  test('a cache that drops keys outside windows gives the hidden states of the whole row', async () => {
    const { directory, expected } = architecture('qwen2-windows');
    const model = await loadLlama(directory);
    const whole = tf.tidy(() => model.hidden(tokens(expected.ids)).dataSync());
    for (const cuts of [
      [0, 1, 2, 20],
      [0, 9, 10, 11, 20],
      [0, 17, 20],
    ]) {
      const caches = expected.ids.map(() => new KeyValueCache());
      const joined = tf.tidy(() => {
        const parts = cuts.slice(1).map((end, i) => {
          const rows = expected.ids.map((row) => row.slice(cuts[i], end));
          return model.hidden(tokens(rows), { cache: caches });
        });
        return tf.concat(parts, 1).dataSync();
      });
      expect(distance(joined, whole)).toBeLessThan(1e-5);
      for (const cache of caches) cache.dispose();
    }
    model.dispose();
  });

  test.each(recent)('%s has the loss and gradients of PyTorch', async (name) => {
    const { directory, expected } = architecture(name);
    const model = await loadLlama(directory);
    for (const recompute of [false, true]) {
      const { loss, byName } = gradients(model, expected.ids, { recompute });
      expect(Math.abs(loss - expected.loss)).toBeLessThan(1e-3);
      expect([...byName.keys()].sort()).toEqual(Object.keys(expected.gradientNorms).sort());
      for (const [name, norm] of Object.entries(expected.gradientNorms)) {
        expect(Math.hypot(...byName.get(name)!) / norm, name).toBeCloseTo(1, 4);
      }
    }
    model.dispose();
  });

  test.each(['mistral-v0.1', 'qwen2', 'qwen3'])(
    '%s has the gradients of central differences',
    async (name) => {
      const { directory, expected } = architecture(name);
      const model = await loadLlama(directory);
      const loss = () => model.loss(tokens(expected.ids), tokens(expected.ids)).sum;
      const own = { qwen2: ['bias'], qwen3: ['q_norm', 'k_norm'] }[name] ?? [];
      for (const kind of ['q_proj.weight', 'k_proj.weight', 'v_proj', ...own]) {
        const chosen = [...model.parameters].filter(([name]) => name.includes(kind)).map(([, p]) => p);
        checkVariableGradients(loss, chosen);
      }
      model.dispose();
    },
  );
});

describe('every architecture', () => {
  beforeEach(async () => {
    await setBackend('cpu');
  });

  test.each(names)('%s is the same after saving and loading', async (name) => {
    const { directory, expected } = architecture(name);
    const target = await mkdtemp(join(tmpdir(), 'llama-model-'));
    const model = await loadLlama(directory);
    await saveLlama(target, model);
    const saved = JSON.parse(await readFile(join(target, 'config.json'), 'utf8'));
    const published = JSON.parse(await readFile(join(directory, 'config.json'), 'utf8'));
    expect(saved.architectures).toEqual(published.architectures);
    expect(saved.model_type).toBe(published.model_type);
    const loaded = await loadLlama(target);
    expect(loaded.config).toEqual(model.config);
    const [a, b] = [model, loaded].map((m) => tf.tidy(() => m.logits(tokens(expected.ids)).dataSync()));
    expect(distance(a, b)).toBe(0);
    model.dispose();
    loaded.dispose();
    await rm(target, { recursive: true });
  });

  test.each(names)('a config of %s that was parsed parses to itself', async (name) => {
    const { directory } = architecture(name);
    const config = parseConfig(JSON.parse(await readFile(join(directory, 'config.json'), 'utf8')));
    expect(parseConfig(config)).toEqual(config);
  });
});
