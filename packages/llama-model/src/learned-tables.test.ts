import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromFloat32, readSafetensors, type SafetensorsTensor, writeSafetensors } from '@meap/safetensors';
import { adamW, setBackend } from '@meap/tensor-kernels';
import { expectNoLeaks } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import {
  AdapterError,
  addLora,
  generate,
  growVocabulary,
  type Llama,
  type LoraOptions,
  loadLlama,
  loadLora,
  mergeLora,
  removeLora,
  saveLora,
  unmergeLora,
} from './index.ts';
import { adapter, architecture, backends, collect, distance, gradients, logits } from './testing.ts';

const EMBEDDING = 'model.embed_tokens.weight';
const HEAD = 'lm_head.weight';
const bases = ['llama-3.2', 'qwen2'];
const both: LoraOptions['modulesToSave'] = ['embed_tokens', 'lm_head'];

const load = (base: string) => loadLlama(architecture(base).directory);
const copies = (parameters: ReadonlyMap<string, tf.Variable>) =>
  new Map([...parameters].map(([name, parameter]) => [name, parameter.dataSync().slice()]));
const expectSame = (now: ReadonlyMap<string, tf.Variable>, before: Map<string, ArrayLike<number>>) => {
  for (const [name, parameter] of now) {
    expect(distance(parameter.dataSync(), before.get(name)!), name).toBe(0);
  }
};

describe.each(backends)('trained tables of an adapter on %s', (backend) => {
  beforeEach(async () => {
    await setBackend(backend);
  });

  test.each(bases)('of PEFT on %s, with rsLoRA, have PEFT’s logits, loss and gradients', async (base) => {
    const { expected } = architecture(base);
    const { directory, expected: wanted } = adapter(base, 'tables-adapter');
    const model = await load(base);
    await loadLora(directory, model);
    expect(distance(logits(model, expected.ids), wanted.logits.flat(2))).toBeLessThan(1e-4);
    for (const recompute of [false, true]) {
      const { loss, byName } = gradients(model, expected.ids, { recompute, dropout: false });
      expect(Math.abs(loss - wanted.loss)).toBeLessThan(1e-3);
      expect([...byName.keys()].sort()).toEqual(Object.keys(wanted.gradients).sort());
      for (const [name, values] of Object.entries(wanted.gradients)) {
        expect(distance(byName.get(name)!, values), name).toBeLessThan(2e-4);
      }
    }
    model.dispose();
  });

  test.each(bases)('merged on %s, give the same results and files, and can be unmerged', async (base) => {
    const { ids } = architecture(base).expected;
    const model = await load(base);
    const [own, plain] = [copies(model.parameters), logits(model, ids)];
    await loadLora(adapter(base, 'tables-adapter').directory, model);
    const write = () => collect(generate(model, ids[0], { maxNewTokens: 6, stopIds: [] }));
    const [unmerged, text] = [logits(model, ids), await write()];
    expect(distance(unmerged, plain)).toBeGreaterThan(0.1);
    mergeLora(model);
    expect(distance(logits(model, ids), unmerged)).toBeLessThan(1e-5);
    expect(await write()).toEqual(text);
    unmergeLora(model);
    expect(distance(logits(model, ids), unmerged)).toBeLessThan(1e-5);
    removeLora(model);
    for (const name of [EMBEDDING, HEAD].filter((name) => own.has(name))) {
      expect(distance(model.parameters.get(name)!.dataSync(), own.get(name)!), name).toBe(0);
    }
    expect(distance(logits(model, ids), plain)).toBeLessThan(1e-5);
    model.dispose();
  });

  test('start equal to the model’s, to the bit, and leave those unchanged in training', async () => {
    const model = await load('qwen2');
    const { ids } = architecture('qwen2').expected;
    const [own, before] = [copies(model.parameters), logits(model, ids)];
    addLora(model, { rank: 2, seed: 0, modulesToSave: both });
    expect(distance(logits(model, ids), before)).toBe(0);
    const { byName } = gradients(model, ids, {});
    const start = copies(model.trainable);
    for (const [name, parameter] of model.trainable) {
      tf.tidy(() => {
        const zeros = () => tf.variable(tf.zeros(parameter.shape));
        const gradient = tf.tensor(byName.get(name)!, parameter.shape);
        const moments = { firstMoment: zeros(), secondMoment: zeros() };
        const betas = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 };
        adamW({ parameter, gradient, ...moments, ...betas, learningRate: 0.1, step: 1, gradientScale: 1 });
        tf.dispose(Object.values(moments));
      });
    }
    for (const name of [EMBEDDING, HEAD]) {
      expect(distance(model.trainable.get(name)!.dataSync(), start.get(name)!)).toBeGreaterThan(0.05);
    }
    expectSame(model.parameters, own);
    model.dispose();
  });

  test('leak no tensor', async () => {
    const before = tf.memory().numTensors;
    const model = await load('qwen2');
    const { ids } = architecture('qwen2').expected;
    addLora(model, { rank: 2, seed: 0, modulesToSave: both });
    await expectNoLeaks(() => gradients(model, ids, {}));
    await expectNoLeaks(() => {
      mergeLora(model);
      unmergeLora(model);
    });
    mergeLora(model);
    model.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('the tables of an adapter', () => {
  let directory: string;
  beforeEach(async () => {
    await setBackend('cpu');
    directory = await mkdtemp(join(tmpdir(), 'llama-model-'));
    onTestFinished(() => rm(directory, { recursive: true }));
  });

  async function withAdapter(base: string, options: Partial<LoraOptions>): Promise<Llama> {
    const model = await load(base);
    onTestFinished(() => model.dispose());
    addLora(model, { rank: 4, seed: 0, ...options });
    return model;
  }

  test('are the selected ones; a tied one is the same by either name', async () => {
    const tables = async (base: string, modulesToSave: LoraOptions['modulesToSave']) => {
      const model = await withAdapter(base, { modulesToSave });
      return [...model.trainable.keys()].filter((name) => !name.includes('lora_'));
    };
    expect(await tables('qwen2', both)).toEqual([EMBEDDING, HEAD]);
    expect(await tables('qwen2', ['lm_head'])).toEqual([HEAD]);
    expect(await tables('qwen2', [])).toEqual([]);
    expect(await tables('llama-3.2', ['lm_head'])).toEqual([EMBEDDING]);
  });

  test('can be combined with trained tokens of the other table', async () => {
    const model = await withAdapter('qwen2', { modulesToSave: ['lm_head'], trainableTokens: [3] });
    const { byName } = gradients(model, architecture('qwen2').expected.ids, {});
    expect(byName.get(HEAD)!.some((x) => x !== 0)).toBe(true);
    await expect(
      withAdapter('qwen2', { modulesToSave: ['embed_tokens'], trainableTokens: [3] }),
    ).rejects.toThrow(/trainableTokens: got 3, expected none with modulesToSave embed_tokens/);
    await expect(
      withAdapter('llama-3.2', { modulesToSave: ['lm_head'], trainableTokens: [3] }),
    ).rejects.toThrow(AdapterError);
    await expect(withAdapter('qwen2', { modulesToSave: ['mlp' as 'lm_head'] })).rejects.toThrow(
      'modulesToSave: got mlp, expected some of embed_tokens, lm_head, norm',
    );
  });

  test('are written and read as PEFT does, a tied one under both names', async () => {
    for (const base of bases) {
      const source = adapter(base, 'tables-adapter').directory;
      const model = await load(base);
      await loadLora(source, model);
      const values = copies(model.trainable);
      await saveLora(directory, model);
      const config = JSON.parse(await readFile(join(directory, 'adapter_config.json'), 'utf8'));
      expect(config).toMatchObject({ use_rslora: true, modules_to_save: both });
      expect(config.ensure_weight_tying).toBe(base === 'llama-3.2' ? true : undefined);
      const [written, original] = await Promise.all(
        [directory, source].map((folder) => readSafetensors(join(folder, 'adapter_model.safetensors'))),
      );
      expect([...written.tensors.keys()].sort()).toEqual([...original.tensors.keys()].sort());
      removeLora(model);
      await loadLora(directory, model);
      expectSame(model.trainable, values);
      model.dispose();
    }
  });

  async function refusal(
    base: string,
    change: (tensors: Map<string, SafetensorsTensor>, config: Record<string, unknown>) => void,
  ): Promise<string> {
    await cp(adapter(base, 'tables-adapter').directory, directory, { recursive: true });
    const [configFile, weights] = ['adapter_config.json', 'adapter_model.safetensors'].map((name) =>
      join(directory, name),
    );
    const config = JSON.parse(await readFile(configFile, 'utf8'));
    const { tensors } = await readSafetensors(weights);
    change(tensors, config);
    await writeFile(configFile, JSON.stringify(config));
    await writeSafetensors(weights, tensors);
    const model = await load(base);
    onTestFinished(() => model.dispose());
    const error = await loadLora(directory, model).then(
      () => undefined,
      (error: Error) => error,
    );
    expect(error).toBeInstanceOf(AdapterError);
    expect(model.adapter).toBeUndefined();
    return error!.message;
  }

  test('are refused if a tied one was trained separately from its head', async () => {
    const head = `base_model.model.${HEAD}`;
    expect(await refusal('llama-3.2', (tensors) => void tensors.delete(head))).toMatch(
      /trains the embeddings separately although they are tied, expected one table for both; train with/,
    );
    expect(
      await refusal('llama-3.2', (tensors) => {
        const zeros = new Float32Array(80 * 32);
        tensors.set(head, fromFloat32(zeros, 'F32', [80, 32]));
      }),
    ).toContain('expected one table for both');
  });

  test('of a grown vocabulary need a grown model', async () => {
    const model = await load('qwen2');
    const grown = growVocabulary(model, { size: 81 });
    addLora(grown, { rank: 2, seed: 0, modulesToSave: both });
    await saveLora(directory, grown);
    grown.dispose();
    const base = await load('qwen2');
    await expect(loadLora(directory, base)).rejects.toThrow(
      /got \[81,32\], expected \[80,32\]; load the base model .* growVocabulary/,
    );
    const again = growVocabulary(base, { size: 81 });
    expect((await loadLora(directory, again)).modulesToSave).toEqual(both);
    again.dispose();
  });
});

test.runIf(backends.includes('native'))('a bfloat16 base stores them rounded', async () => {
  await setBackend('native');
  const { directory } = architecture('qwen2');
  const model = await loadLlama(directory, { weights: 'bfloat16' });
  const { ids } = architecture('qwen2').expected;
  const before = logits(model, ids);
  addLora(model, { rank: 2, seed: 0, modulesToSave: both });
  expect(distance(logits(model, ids), before)).toBeLessThan(1e-5);
  const learned = model.trainable.get(HEAD)!;
  tf.tidy(() => learned.assign(tf.mul(learned, 1.0009765625) as tf.Variable));
  const values = learned.dataSync().slice();
  mergeLora(model);
  const merged = model.parameters.get(HEAD)!.dataSync();
  expect(distance(learned.dataSync(), values)).toBe(0);
  expect(distance(merged, values)).toBeGreaterThan(0);
  for (const [i, x] of merged.entries())
    expect(Math.abs(x - values[i])).toBeLessThanOrEqual(Math.abs(x) / 256);
  expect(() => unmergeLora(model)).toThrow(/stored as bfloat16/);
  model.dispose();
});

test('rsLoRA scales by the root of the rank', async () => {
  await setBackend('cpu');
  const model = await load('qwen2');
  expect(addLora(model, { rank: 16, alpha: 8, seed: 0, useRslora: true }).scaling).toBe(2);
  removeLora(model);
  expect(addLora(model, { rank: 16, alpha: 8, seed: 0, targetModules: 'all-linear' })).toMatchObject({
    scaling: 0.5,
    useRslora: false,
    targetModules: expect.objectContaining({ length: 7 }),
  });
  model.dispose();
});
