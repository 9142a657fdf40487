import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { adapterBase, type Llama, loadAdaptedLlama, loadLlama } from '@meap/llama-model';
import { setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { countLoraParameters } from './memory-plan.ts';
import { exportModel, learnedTokens, loadModelParts, loadTrainableModel, saveTrained } from './model.ts';
import { type FinetuneConfig, resolveConfig } from './resolve-config.ts';
import { saveTinyModel, tinyTokenizer, Workbench } from './testing.ts';
import { loraPlusGroups } from './training-parts.ts';

const bench = new Workbench();
beforeAll(async () => {
  await setBackend('auto');
  await bench.fill();
  const files = {
    'generation_config.json': { temperature: 0.6, do_sample: true, eos_token_id: [1, 2] },
    'added_tokens.json': { '<x>': 7 },
  };
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(bench.path('model', name), JSON.stringify(content));
  }
  bench.write('model/tokenizer.model', 'SentencePiece');
  bench.write('model/chat_template.jinja', '{{ messages[0].content }}');
});
afterAll(() => bench.dispose());

function configured(changes: object = {}): FinetuneConfig {
  return resolveConfig({
    model: { path: bench.path('model') },
    data: { files: [bench.path('data.json')], chat_template: 'alpaca' },
    train: { max_length: 96 },
    ...changes,
  });
}

/** Saves and exports an untrained model. */
async function saved(name: string, config: FinetuneConfig) {
  const parts = loadModelParts(config);
  const model = await loadTrainableModel(config, parts);
  const folder = bench.path(name);
  try {
    const run = { ...parts, baseModel: config.model.path };
    await saveTrained(join(folder, 'checkpoint'), model, run);
    await exportModel(join(folder, 'model'), model, run, {
      dtype: 'float32',
      adapterDirectory: join(folder, 'adapter'),
    });
  } finally {
    model.dispose();
  }
  const text = (file: string) => readFileSync(join(folder, file), 'utf8');
  return { parts, text, json: (file: string) => JSON.parse(text(file)) };
}

describe.each([
  ['full', {}],
  ['LoRA', { lora: { rank: 2 } }],
])('%s fine-tuning', (name, changes) => {
  it('exports the tokenizer files of the source, with the mask token', async () => {
    const { parts, text, json } = await saved(`files ${name}`, configured(changes));
    for (const folder of ['checkpoint', 'model']) {
      expect(text(`${folder}/tokenizer.model`)).toBe('SentencePiece');
      expect(json(`${folder}/added_tokens.json`)).toEqual({ '<x>': 7, '[MASK]': parts.maskId });
      // The template differs from that of the source.
      expect(text(`${folder}/chat_template.jinja`)).toBe(parts.template.source);
      expect(json(`${folder}/tokenizer_config.json`).chat_template).toBe(parts.template.source);
    }
  });

  it('exports the source’s generation_config.json with the end of an answer', async () => {
    const { parts, json } = await saved(`generation ${name}`, configured(changes));
    const ends = json('model/config.json').eos_token_id;
    expect(ends).toContain(parts.encoder.endOfAnswerId);
    expect(json('model/generation_config.json')).toMatchObject({
      temperature: 0.6,
      do_sample: true,
      eos_token_id: ends,
    });
    expect(ends).toEqual(expect.arrayContaining([1, 2]));
  });
});

it('next-token prediction exports a folder without a mask token', async () => {
  const { json } = await saved('ntp', configured({ masking: { ratio: 0 } }));
  expect(json('model/added_tokens.json')).toEqual({ '<x>': 7 });
  expect(existsSync(bench.path('ntp/model/tokenizer.model'))).toBe(true);
});

describe('an exported adapter', () => {
  const cases: [string, object, string[]][] = [
    ['tokens', { rank: 2 }, []],
    ['tables', { rank: 4, use_rslora: true, modules_to_save: ['lm_head'] }, ['embed_tokens', 'lm_head']],
    ['norms', { rank: 2, use_dora: true, modules_to_save: ['norm'] }, ['norm']],
  ];

  it.each(cases)('with trained %s gives the logits of the merged model', async (name, lora, modules) => {
    // In bfloat16 the merged weights would be rounded.
    const path = bench.path('float32');
    await saveTinyModel(path, await tinyTokenizer(), { torch_dtype: 'float32' });
    const config = configured({ lora, model: { path } });
    const parts = loadModelParts(config);
    const model = await loadTrainableModel(config, parts);
    for (const parameter of model.trainable.values()) {
      tf.tidy(() => {
        const noise = tf.randomNormal(parameter.shape, 0, 0.1, 'float32', 3);
        parameter.assign(tf.add(parameter, noise) as tf.Variable);
      });
    }
    const folder = bench.path(`adapter ${name}`);
    const [whole, alone] = [join(folder, 'model'), join(folder, 'adapter')];
    const run = { ...parts, baseModel: config.model.path };
    await exportModel(whole, model, run, { dtype: 'float32', adapterDirectory: alone });
    model.dispose();
    const written = JSON.parse(readFileSync(join(alone, 'adapter_config.json'), 'utf8'));
    expect(written).toMatchObject({
      base_model_name_or_path: path,
      use_rslora: name === 'tables',
      use_dora: name === 'norms',
      modules_to_save: modules.length > 0 ? modules : null,
      trainable_token_indices: name === 'tables' ? null : [parts.maskId],
    });
    expect(existsSync(join(alone, 'tokenizer.json'))).toBe(true);
    const [merged, base] = [await loadLlama(whole), await adapterBase(alone)];
    const adapted = await loadAdaptedLlama(base, alone);
    try {
      const logits = (of: Llama) => {
        const ids = tf.tensor2d([[5, parts.maskId, 9, 30]], [1, 4], 'int32');
        return tf.tidy(() => of.logits(ids).dataSync().slice());
      };
      const [one, other] = [logits(merged), logits(adapted)];
      expect(one).toHaveLength(4 * parts.numIds);
      one.forEach((x, i) => {
        expect(Math.abs(x - other[i])).toBeLessThan(1e-4);
      });
    } finally {
      merged.dispose();
      adapted.dispose();
    }
  });
});

it('LoRA+ raises the rate of B and of vectors alone', async () => {
  const modules_to_save = ['embed_tokens', 'norm'];
  const config = configured({ lora: { rank: 2, use_dora: true, modules_to_save, loraplus_lr_ratio: 8 } });
  const model = await loadTrainableModel(config, loadModelParts(config));
  const [{ pattern, learningRateMultiplier }, ...others] = loraPlusGroups(config);
  expect([learningRateMultiplier, others]).toEqual([8, []]);
  for (const [name, { rank }] of model.trainable) {
    expect(new RegExp(pattern).test(name), name).toBe(name.includes('lora_B') || rank === 1);
  }
  model.dispose();
  expect(loraPlusGroups(configured({ lora: {} }))).toEqual([]);
});

it('countLoraParameters counts matrices, magnitudes, rows, tables and norms', async () => {
  const numLearned = async (lora: object) => {
    const config = configured({ lora });
    const parts = loadModelParts(config);
    const model = await loadTrainableModel(config, parts);
    const learned = [...model.trainable.values()].reduce((sum, { size }) => sum + size, 0);
    const counted = countLoraParameters(model.config, config.lora!, learnedTokens(config, parts).length);
    model.dispose();
    return [counted, learned];
  };
  const choices = [
    { target_modules: ['q_proj'] },
    { target_modules: 'all-linear', rank: 3 },
    { modules_to_save: ['embed_tokens'] },
    { modules_to_save: ['lm_head', 'embed_tokens'] },
    { modules_to_save: [] },
    { modules_to_save: ['norm', 'lm_head'], use_dora: true, target_modules: ['k_proj', 'down_proj'] },
  ];
  for (const lora of choices) {
    const [counted, learned] = await numLearned(lora);
    expect(counted, JSON.stringify(lora)).toBe(learned);
  }
});
