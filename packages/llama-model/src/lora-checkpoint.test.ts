import { existsSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  fromFloat32,
  readSafetensors,
  SafetensorsError,
  type SafetensorsTensor,
  writeSafetensors,
} from '@meap/safetensors';
import { setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AdapterError, CheckpointError, ConfigError } from './errors.ts';
import { addLora, type Llama, loadLlama, loadLora, removeLora, saveLora } from './index.ts';
import { adapter, architecture, distance } from './testing.ts';

const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';
const NAME = 'base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight';

let directory: string;
let model: Llama;

beforeEach(async () => {
  await setBackend('cpu');
  directory = await mkdtemp(join(tmpdir(), 'llama-model-'));
  model = await loadLlama(architecture('llama-3.2').directory);
});
afterEach(async () => {
  model.dispose();
  await rm(directory, { recursive: true });
});

test('an adapter of PEFT survives reading and writing', async () => {
  const source = adapter('llama-3.2').directory;
  const { rank, alpha, dropout, targetModules, parameters } = await loadLora(source, model);
  expect({ rank, alpha, dropout, targetModules }).toEqual({
    rank: 4,
    alpha: 6,
    dropout: 0.1,
    targetModules: ['q_proj', 'v_proj', 'down_proj'],
  });
  const values = new Map([...parameters].map(([name, p]) => [name, p.dataSync().slice() as Float32Array]));
  expect(await saveLora(directory, model, { baseModel: 'meta-llama/Llama-3.2-1B' })).toEqual([
    CONFIG,
    WEIGHTS,
  ]);
  const config = JSON.parse(await readFile(join(directory, CONFIG), 'utf8'));
  const peft = JSON.parse(await readFile(join(source, CONFIG), 'utf8'));
  expect(config.base_model_name_or_path).toBe('meta-llama/Llama-3.2-1B');
  // Every key is one that PEFT writes too.
  expect(Object.keys(peft)).toEqual(expect.arrayContaining(Object.keys(config)));
  const written = await readSafetensors(join(directory, WEIGHTS));
  const original = await readSafetensors(join(source, WEIGHTS));
  expect([...written.tensors.keys()].sort()).toEqual([...original.tensors.keys()].sort());
  expect(written.metadata).toEqual({ format: 'pt' });

  removeLora(model);
  const loaded = await loadLora(directory, model);
  for (const [name, p] of loaded.parameters) expect(distance(p.dataSync(), values.get(name)!)).toBe(0);
});

test('a model without an adapter has none to save, and a directory that cannot be made is a typed error', async () => {
  await expect(saveLora(directory, model)).rejects.toThrow(/saveLora: the model has no adapter/);
  addLora(model, { rank: 1, seed: 0 });
  await writeFile(join(directory, 'file'), '');
  await expect(saveLora(join(directory, 'file', 'x'), model)).rejects.toThrow(AdapterError);
});

test.skipIf(!existsSync('/proc/self'))('saving to a path that cannot be a folder is an error', async () => {
  addLora(model, { rank: 1, seed: 0 });
  await expect(saveLora('/proc/meap/adapter', model)).rejects.toThrow(
    /^\/proc\/meap\/adapter: cannot be written: ENOENT/,
  );
});

test('refuses to save an adapter that diverged', async () => {
  const { parameters } = addLora(model, { rank: 1, seed: 0 });
  const [[name, parameter]] = parameters;
  parameter.assign(tf.fill(parameter.shape, Number.NaN));
  await expect(saveLora(directory, model)).rejects.toThrow(CheckpointError);
  await expect(saveLora(directory, model)).rejects.toThrow(`${name} holds a value that is not finite`);
});

describe('loadLora refuses', () => {
  async function refusal(
    change: (tensors: Map<string, SafetensorsTensor>, config: Record<string, unknown>) => void,
  ): Promise<Error> {
    await cp(adapter('llama-3.2').directory, directory, { recursive: true });
    const config = JSON.parse(await readFile(join(directory, CONFIG), 'utf8'));
    const { tensors } = await readSafetensors(join(directory, WEIGHTS));
    change(tensors, config);
    await writeFile(join(directory, CONFIG), JSON.stringify(config));
    await writeSafetensors(join(directory, WEIGHTS), tensors);
    const before = tf.memory().numTensors;
    const error = await loadLora(directory, model).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(error).toBeInstanceOf(Error);
    expect((error as Error).message).not.toContain('\n');
    expect(tf.memory().numTensors).toBe(before);
    expect(model.adapter).toBeUndefined();
    expect(model.trainable).toBe(model.parameters);
    return error as Error;
  }

  test.each([
    ['peft_type', 'IA3'],
    ['task_type', 'SEQ_CLS'],
    ['bias', 'all'],
    ['use_dora', 'yes'],
    ['use_rslora', 'yes'],
    ['lora_bias', true],
    ['fan_in_fan_out', true],
    ['rank_pattern', { q_proj: 8 }],
    ['alpha_pattern', { q_proj: 8 }],
    ['modules_to_save', ['embed_tokens', 'mlp']],
    ['modules_to_save', ['model.norm']],
    ['modules_to_save', 'embed_tokens'],
    ['trainable_token_indices', { lm_head: [3] }],
    ['trainable_token_indices', 3],
    ['layers_to_transform', [0]],
    ['layer_replication', [[0, 1]]],
    ['init_lora_weights', 'pissa'],
    ['target_modules', '.*_proj'],
    ['target_modules', ['q_proj', 'lm_head']],
    ['target_modules', null],
    ['r', 0],
    ['lora_dropout', 1],
    ['some_new_option', 3],
  ])('%s: %j, by name', async (key, value) => {
    const error = await refusal((_, config) => {
      config[key] = value;
    });
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as ConfigError).path).toBe(`${join(directory, CONFIG)}.${key}`);
  });

  test('a matrix that is missing, unexpected, misshapen or not finite', async () => {
    const missing = await refusal((tensors) => void tensors.delete(NAME));
    expect(missing).toBeInstanceOf(AdapterError);
    expect(missing.message).toContain(`${NAME} does not fit the model, got none, expected [32,4]`);
    const unexpected = await refusal((tensors) => {
      tensors.set(NAME.replace('v_proj', 'k_proj'), tensors.get(NAME)!);
    });
    expect(unexpected.message).toContain('k_proj.lora_B.weight is unexpected');
    const misshapen = await refusal((tensors) => {
      tensors.set(NAME, fromFloat32(new Float32Array(128), 'F32', [16, 8]));
    });
    expect(misshapen.message).toContain('got [16,8], expected [32,4]');
    const infinite = await refusal((tensors) => {
      tensors.set(NAME, fromFloat32(new Float32Array(128).fill(Number.POSITIVE_INFINITY), 'F32', [32, 4]));
    });
    expect(infinite).toBeInstanceOf(CheckpointError);
  });

  test('an adapter of another model', async () => {
    const before = tf.memory().numTensors;
    await expect(loadLora(adapter('qwen2').directory, model)).rejects.toThrow(/does not fit the model/);
    expect(tf.memory().numTensors).toBe(before);
  });

  test('a second adapter', async () => {
    addLora(model, { rank: 1, seed: 0 });
    const before = tf.memory().numTensors;
    await expect(loadLora(adapter('llama-3.2').directory, model)).rejects.toThrow(/has an adapter already/);
    expect(tf.memory().numTensors).toBe(before);
  });

  test('a directory without files, and one whose config is not JSON', async () => {
    await expect(loadLora(directory, model)).rejects.toThrow(/adapter_config.json: cannot be read as JSON/);
    await writeFile(join(directory, CONFIG), '[]');
    await expect(loadLora(directory, model)).rejects.toThrow(ConfigError);
    await cp(join(adapter('llama-3.2').directory, CONFIG), join(directory, CONFIG));
    await expect(loadLora(directory, model)).rejects.toThrow(SafetensorsError);
  });
});
