import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createLlama, loadLlama, parseConfig, saveLlama } from '@meap/llama-model';
import { ConfigurationError, hashFiles, readExactMetrics } from '@meap/recipe-cli';
import { setBackend } from '@meap/tensor-kernels';
import { setFlags } from '@meap/test-support';
import { loadTokenizer } from '@meap/token-dataset';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { resolveConfig } from './resolve-config.ts';
import { tinyRecipe, Workbench } from './testing.ts';
import { createModel, modelConfig } from './training/model.ts';

const bench = new Workbench();
afterAll(() => bench.dispose());
const checkpoint = bench.path('trained/checkpoints/step-00000006');
const extend = {
  ...tinyRecipe,
  // The folder of a run means its newest checkpoint.
  model: { from: 'trained' },
  tokenizer: {},
  extension: {},
  train: { ...tinyRecipe.train, sequence_length: 64, global_batch_size: 2, micro_batch_size: 1 },
};

beforeAll(async () => {
  expect(await bench.pretrain('trained')).toMatchObject({ code: 0, stderr: '' });
  bench.recipe = bench.write('extend.yaml', stringify(extend));
});

describe('a run from a checkpoint', () => {
  it('extends its context, keeps its tokenizer and starts from its weights', async () => {
    expect(await bench.pretrain('extended')).toMatchObject({ code: 0, stderr: '' });
    const [before, after] = [checkpoint, bench.path('extended/checkpoints/step-00000006')].map((folder) =>
      JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')),
    );
    expect(before).toMatchObject({ max_position_embeddings: 16, rope_theta: 10_000 });
    expect(after).toEqual({ ...before, max_position_embeddings: 64, rope_theta: 640_000 });
    const tokenizers = [checkpoint, bench.path('extended/checkpoints/step-00000006')].map((folder) =>
      loadTokenizer(folder),
    );
    expect(tokenizers[1].json).toBe(tokenizers[0].json);

    await setBackend('auto');
    const config = resolveConfig({ ...extend, model: { from: checkpoint } });
    const shape = modelConfig(config, tokenizers[0]);
    const [origin, model] = [await loadLlama(checkpoint), await createModel(config, shape)];
    expect(model.config).toEqual(shape);
    for (const [name, parameter] of origin.parameters) {
      expect(model.parameters.get(name)!.dataSync()).toEqual(parameter.dataSync());
    }
    origin.dispose();
    model.dispose();
    // It starts from the trained weights.
    const first = (out: string) => (readExactMetrics(bench.path(out))[0] as { loss: number }).loss;
    expect(first('extended')).toBeLessThan(first('trained') - 0.2);
  });

  it('resumes to the same bytes', async () => {
    const last = bench.path('extended/checkpoints/step-00000006');
    const files = hashFiles(last);
    rmSync(last, { recursive: true });
    const again = await bench.pretrain('extended');
    expect(again).toMatchObject({ code: 0, stderr: '' });
    expect(again.stdout).toContain('resume       at step 4');
    expect(hashFiles(last)).toEqual(files);
  });

  it('trains without an extension, without masks, and with another method', async () => {
    const plain = ['extension=null', 'train.sequence_length=16', 'masking.ratio=0'];
    const flags = setFlags(...plain);
    expect(await bench.pretrain('plain', ...flags)).toMatchObject({ code: 0, stderr: '' });
    expect(await bench.pretrain('yarn', '--set', 'extension.method=yarn')).toMatchObject({ code: 0 });
    const written = readFileSync(bench.path('yarn/checkpoints/step-00000006/config.json'), 'utf8');
    expect(JSON.parse(written).rope_scaling).toEqual({
      rope_type: 'yarn',
      factor: 4,
      original_max_position_embeddings: 16,
    });
  });

  it('adds only the embedding of the mask token to a model', async () => {
    const folder = bench.path('published');
    const shape = { ...JSON.parse(readFileSync(join(checkpoint, 'config.json'), 'utf8')), vocab_size: 300 };
    const model = createLlama(parseConfig(shape), { seed: 0 });
    await saveLlama(folder, model);
    model.dispose();
    const { json } = loadTokenizer(checkpoint);
    const contents = JSON.parse(json);
    contents.added_tokens.pop();
    writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(contents));
    writeFileSync(join(folder, 'vocab.json'), '{}');
    writeFileSync(join(folder, 'generation_config.json'), JSON.stringify({ top_p: 0.9 }));
    expect(await bench.pretrain('grown', '--set', `model.from=${folder}`)).toMatchObject({
      code: 0,
      stderr: '',
    });
    const written = (name: string) =>
      JSON.parse(readFileSync(bench.path('grown/checkpoints/step-00000006', name), 'utf8'));
    expect(written('config.json').vocab_size).toBe(301);
    expect(written('generation_config.json')).toMatchObject({ top_p: 0.9, eos_token_id: shape.eos_token_id });
    expect([written('vocab.json'), written('added_tokens.json')]).toEqual([{}, { '[MASK]': 300 }]);
  });

  it('shows the extended model in a dry run', async () => {
    const { code, stdout } = await bench.pretrain('none', '--dry-run', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout).model).toMatchObject({ max_position_embeddings: 64, rope_theta: 640_000 });
  });
});

describe('invalid combinations', () => {
  it.each([
    [
      { model: { ...extend.model, hidden_size: 8 } },
      'model.hidden_size: got 8, expected none beside model.from',
    ],
    [
      { model: { ...extend.model, preset: 'tiny' } },
      'model.preset: got "tiny", expected none beside model.from',
    ],
    [
      { tokenizer: { vocab_size: 9 } },
      'tokenizer: got {"vocab_size":9}, expected neither path nor vocab_size',
    ],
    [{ model: tinyRecipe.model, tokenizer: tinyRecipe.tokenizer }, 'none without model.from'],
    [
      { extension: { method: 'longrope' } },
      'extension.method: got "longrope", expected one of theta, linear',
    ],
  ])('%j is refused', (changes, message) => {
    expect(() => resolveConfig({ ...extend, ...changes })).toThrow(ConfigurationError);
    expect(() => resolveConfig({ ...extend, ...changes })).toThrow(message);
  });

  it.each([
    [['model.from=nowhere'], 'expected the folder of a Hugging Face model'],
    [
      ['extension.context_length=16'],
      'extension: extension.context_length: got 16, expected a whole number above the context',
    ],
    [
      ['extension.rope_theta=100'],
      'extension: extension.rope_theta: got 100, expected a number above the model’s base 10000',
    ],
    [
      ['extension.context_length=32'],
      'train.sequence_length: got 64, expected at most the model’s context of 32',
    ],
    [['extension=null'], 'train.sequence_length: got 64, expected at most the model’s context of 16'],
  ])('%j is refused with a one-line error', async (overrides, message) => {
    const { code, stderr } = await bench.pretrain('no', ...setFlags(...overrides));
    expect(code).not.toBe(0);
    expect(stderr).toContain(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});
