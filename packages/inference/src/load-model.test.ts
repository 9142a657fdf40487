import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  addLora,
  createLlama,
  growVocabulary,
  type Llama,
  loadLlama,
  mergeLora,
  parseConfig,
  saveLlama,
  saveLora,
} from '@meap/llama-model';
import { setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { findModel } from './find-model.ts';
import { loadModel } from './load-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'load-model-'));
const base = join(folder, 'base');
beforeAll(async () => {
  await setBackend('auto');
  const shape = { vocab_size: 20, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 1 };
  const config = parseConfig({ ...shape, num_attention_heads: 2, torch_dtype: 'float32' });
  const model = createLlama(config, { seed: 0 });
  await saveLlama(base, model);
  model.dispose();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it.each([
  ['rows', { trainableTokens: [20] }],
  ['tables', { modulesToSave: ['embed_tokens', 'lm_head'] as const, useRslora: true }],
])('loads an adapter with trained %s beyond the vocabulary of its base', async (name, options) => {
  const model = growVocabulary(await loadLlama(base), { size: 21 });
  addLora(model, { rank: 2, seed: 1, ...options });
  for (const parameter of model.trainable.values()) {
    tf.tidy(() => parameter.assign(tf.randomNormal(parameter.shape, 0, 0.3, 'float32', 2) as tf.Variable));
  }
  const directory = join(folder, name);
  await saveLora(directory, model, { baseModel: 'base' });
  mergeLora(model);
  const logits = (of: Llama) =>
    tf.tidy(() => of.logits(tf.tensor2d([[3, 20, 7]], [1, 3], 'int32')).dataSync());
  const found = await findModel(directory);
  expect(found).toEqual({ base, adapter: directory, tokenizer: base });
  const { model: loaded } = await loadModel(found, {});
  expect(loaded.config.vocab_size).toBe(21);
  logits(loaded).forEach((x, i) => {
    expect(x).toBeCloseTo(logits(model)[i], 4);
  });
  model.dispose();
  loaded.dispose();
});
