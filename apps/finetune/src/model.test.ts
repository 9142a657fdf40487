import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setBackend } from '@meap/tensor-kernels';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exportModel, loadModelParts, loadTrainableModel, saveTrained } from './model.ts';
import { type FinetuneConfig, resolveConfig } from './resolve-config.ts';
import { Workbench } from './testing.ts';

let bench: Workbench;
beforeAll(async () => {
  await setBackend('auto');
  bench = await Workbench.create();
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

/** What a run saves of a model that nothing was learned by. */
async function saved(name: string, config: FinetuneConfig) {
  const parts = loadModelParts(config);
  const model = await loadTrainableModel(config, parts);
  const folder = bench.path(name);
  try {
    const run = { ...parts, baseModel: config.model.path };
    await saveTrained(join(folder, 'checkpoint'), model, run);
    await exportModel(join(folder, 'model'), model, run, 'float32');
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
  it('exports what the source’s folder has for its tokenizer, the mask token in all of it', async () => {
    const { parts, text, json } = await saved(`files ${name}`, configured(changes));
    for (const folder of ['checkpoint', 'model']) {
      expect(text(`${folder}/tokenizer.model`)).toBe('SentencePiece');
      expect(json(`${folder}/added_tokens.json`)).toEqual({ '<x>': 7, '[MASK]': parts.maskId });
      // Trained with another template than the source's.
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
