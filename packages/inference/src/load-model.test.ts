import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  addLora,
  createLlama,
  growVocabulary,
  type Llama,
  type LoraOptions,
  loadLlama,
  mergeLora,
  parseConfig,
  saveLlama,
  saveLora,
} from '@meap/llama-model';
import { setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { findAdapter, findModel } from './find-model.ts';
import { loadModel, loadWithAdapters } from './load-model.ts';

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

/** Writes an adapter with noise for a base of one more id, and returns the model with it. */
async function writeAdapter(
  name: string,
  options: Partial<LoraOptions>,
): Promise<{ model: Llama; directory: string }> {
  const model = growVocabulary(await loadLlama(base), { size: 21 });
  addLora(model, { rank: 2, seed: 1, ...options });
  for (const parameter of model.trainable.values()) {
    tf.tidy(() => parameter.assign(tf.randomNormal(parameter.shape, 0, 0.3, 'float32', 2) as tf.Variable));
  }
  const directory = join(folder, name);
  await saveLora(directory, model, { baseModel: 'base' });
  return { model, directory };
}

async function saveAdapter(name: string, options: Partial<LoraOptions>): Promise<string> {
  const { model, directory } = await writeAdapter(name, options);
  model.dispose();
  return directory;
}

it('loads adapters that share the weights of their base', async () => {
  const plain = await saveAdapter('plain', { targetModules: ['q_proj'] });
  const grown = await saveAdapter('grown', { trainableTokens: [20], useDora: true });
  const folders = await findModel(base);
  const directories = new Map([
    ['plain', (await findAdapter(plain, folders)).adapter],
    ['grown', (await findAdapter(grown, folders)).adapter],
  ]);
  const logits = ({ model, vocabularySize }: { model: Llama; vocabularySize: number }) =>
    tf.tidy(() =>
      model
        .logits(tf.tensor2d([[3, 8, 7]], [1, 3], 'int32'))
        .slice([0, 0, 0], [1, 3, vocabularySize])
        .dataSync(),
    );
  const before = tf.memory().numTensors;
  const { base: shared, adapters } = await loadWithAdapters(folders, directories, {});
  expect([shared, ...adapters.values()].map(({ vocabularySize }) => vocabularySize)).toEqual([20, 20, 21]);
  for (const { model } of adapters.values()) expect(model.parameters).toBe(shared.model.parameters);
  const alone: [typeof shared, string][] = [
    [shared, base],
    [adapters.get('plain')!, plain],
    [adapters.get('grown')!, grown],
  ];
  for (const [one, directory] of alone) {
    const { model } = await loadModel(await findModel(directory), {});
    const wanted = logits({ model, vocabularySize: model.config.vocab_size });
    const actual = logits(one);
    expect(actual).toHaveLength(wanted.length);
    actual.forEach((x, i) => {
      expect(x).toBeCloseTo(wanted[i], 4);
    });
    model.dispose();
  }
  for (const { model } of adapters.values()) model.dispose();
  logits(shared);
  shared.model.dispose();
  expect(tf.memory().numTensors).toBe(before);
});

it('findAdapter refuses what is no adapter of the model', async () => {
  const adapter = await saveAdapter('trained', {});
  const folders = await findModel(base);
  await expect(findAdapter(base, folders)).rejects.toThrow(
    /contains no adapter_config.json, expected a PEFT/,
  );
  await expect(findAdapter(join(folder, 'none'), folders)).rejects.toThrow(/none: no such folder/);
  await expect(findAdapter(adapter, await findModel(adapter))).rejects.toThrow(/is an adapter itself/);
  const other = join(folder, 'other');
  cpSync(base, other, { recursive: true });
  await expect(findAdapter(adapter, await findModel(other))).rejects.toThrow(
    /^adapter \S+trained: was trained on \S+base, expected \S+other, the model that it is used with; if they are the same, change base_model_name_or_path/,
  );
  // The folder of the base on another machine.
  const moved = join(folder, 'moved');
  mkdirSync(moved);
  writeFileSync(join(moved, 'adapter_config.json'), '{"base_model_name_or_path": "/elsewhere/base"}');
  expect(await findAdapter(moved, folders)).toEqual({ base, adapter: moved, tokenizer: base });
});

it.each([
  ['rows', { trainableTokens: [20] }],
  ['tables', { modulesToSave: ['embed_tokens', 'lm_head'] as const, useRslora: true }],
])('loads an adapter with trained %s beyond the vocabulary of its base', async (name, options) => {
  const { model, directory } = await writeAdapter(name, options);
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
