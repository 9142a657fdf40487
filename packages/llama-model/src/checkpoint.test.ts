import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  fromFloat32,
  readSafetensors,
  SafetensorsError,
  type SafetensorsTensor,
  toFloat32,
  writeSafetensors,
} from '@meap/safetensors';
import { setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseConfig } from './config.ts';
import { CheckpointError, ConfigError } from './errors.ts';
import { createLlama, type Llama, loadLlama, readLlamaConfig, saveLlama } from './index.ts';
import { distance, fixture } from './testing.ts';

let directory: string;

beforeEach(async () => {
  await setBackend('cpu');
  directory = await mkdtemp(join(tmpdir(), 'llama-model-'));
});
afterEach(() => rm(directory, { recursive: true }));

function worstDifference(a: Llama, b: Llama): number {
  const differences = [...a.parameters].map(([name, parameter]) =>
    distance(parameter.dataSync(), b.parameters.get(name)!.dataSync()),
  );
  return Math.max(...differences);
}

/** The fixture with a change to its tensors and config. */
async function damaged(
  change: (tensors: Map<string, SafetensorsTensor>, config: Record<string, unknown>) => void,
): Promise<string> {
  const config = JSON.parse(await readFile(join(fixture, 'config.json'), 'utf8'));
  const { tensors } = await readSafetensors(join(fixture, 'model.safetensors'));
  change(tensors, config);
  await writeFile(join(directory, 'config.json'), JSON.stringify(config));
  await writeSafetensors(join(directory, 'model.safetensors'), tensors);
  return directory;
}

describe('saveLlama and loadLlama', () => {
  test.each([
    ['float32', 0],
    ['bfloat16', 2 ** -9],
    ['float16', 2 ** -12],
  ] as const)('round trip in %s', async (dtype, relative) => {
    const model = await loadLlama(fixture);
    const files = await saveLlama(directory, model, { dtype });
    expect(files).toEqual(['config.json', 'generation_config.json', 'model.safetensors']);
    const loaded = await loadLlama(directory);
    expect(loaded.config).toEqual({ ...model.config, torch_dtype: dtype });
    // The largest weights are below 2.
    expect(worstDifference(model, loaded)).toBeLessThanOrEqual(2 * relative);
    model.dispose();
    loaded.dispose();
  });

  test('shards weights, and replaces an earlier single file', async () => {
    const model = await loadLlama(fixture);
    await saveLlama(directory, model);
    const files = await saveLlama(directory, model, { maxShardBytes: 30_000 });
    expect(files).toContain('model-00001-of-00005.safetensors');
    expect((await readdir(directory)).sort()).toEqual([...files].sort());
    const loaded = await loadLlama(directory);
    expect(worstDifference(model, loaded)).toBe(0);
    model.dispose();
    loaded.dispose();
  });

  test('a tied model has no lm_head, and a config without special ids keeps none', async () => {
    const config = parseConfig({
      vocab_size: 16,
      hidden_size: 8,
      intermediate_size: 8,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      tie_word_embeddings: true,
    });
    const model = createLlama(config, { seed: 4 });
    await saveLlama(directory, model);
    const { tensors, metadata } = await readSafetensors(directory);
    expect([...tensors.keys()].sort()).toEqual([...model.parameters.keys()].sort());
    expect(metadata).toEqual({ format: 'pt' });
    const loaded = await loadLlama(directory);
    expect(loaded.config).toEqual(config);
    model.dispose();
    loaded.dispose();
  });

  test('a directory that cannot be made is a typed error', async () => {
    const model = await loadLlama(fixture);
    await writeFile(join(directory, 'file'), '');
    await expect(saveLlama(join(directory, 'file', 'model'), model)).rejects.toThrow(CheckpointError);
    model.dispose();
  });

  test('weights that float16 cannot hold, or NaN, are not saved', async () => {
    const model = await loadLlama(fixture);
    const name = 'model.layers.1.mlp.up_proj.weight';
    const parameter = model.parameters.get(name)!;
    parameter.assign(tf.fill(parameter.shape, 70_000));
    await expect(saveLlama(directory, model, { dtype: 'float16' })).rejects.toThrow(`${name} holds a value`);
    parameter.assign(tf.fill(parameter.shape, Number.NaN));
    await expect(saveLlama(directory, model)).rejects.toThrow(CheckpointError);
    expect((await readdir(directory)).filter((file) => file.includes('safetensors'))).toEqual([]);
    model.dispose();
  });
});

test.skipIf(!existsSync('/proc/self'))('saving to a path that cannot be a folder is an error', async () => {
  const model = await loadLlama(fixture);
  await expect(saveLlama('/proc/meap/model', model)).rejects.toThrow(
    /^\/proc\/meap\/model: cannot be written: ENOENT/,
  );
});

describe('loadLlama refuses', () => {
  let numTensors: number;
  beforeEach(() => {
    numTensors = tf.memory().numTensors;
  });
  afterEach(() => expect(tf.memory().numTensors).toBe(numTensors));

  async function refusal(path: string): Promise<CheckpointError> {
    const error = await loadLlama(path).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).not.toContain('\n');
    return error as CheckpointError;
  }

  test('missing and unexpected tensors, by name', async () => {
    const error = await refusal(
      await damaged((tensors) => {
        tensors.set('model.layers.2.mlp.up_proj.weight', tensors.get('model.layers.1.mlp.up_proj.weight')!);
        tensors.delete('lm_head.weight');
        tensors.delete('model.norm.weight');
      }),
    );
    expect(error.tensors).toEqual([
      'model.norm.weight',
      'lm_head.weight',
      'model.layers.2.mlp.up_proj.weight',
    ]);
    expect(error.message).toContain('missing model.norm.weight, lm_head.weight; unexpected model.layers.2');
  });

  test('a tensor of another shape', async () => {
    const error = await refusal(
      await damaged((_, config) => {
        config.vocab_size = 100;
      }),
    );
    expect(error.message).toContain('model.embed_tokens.weight does not fit config.json, got F32 [96,32]');
    expect(error.message).toContain('[100,32]');
  });

  test('integer weights', async () => {
    const error = await refusal(
      await damaged((tensors) => {
        tensors.set('model.norm.weight', { dtype: 'I32', shape: [32], data: new Uint8Array(128) });
      }),
    );
    expect(error.tensors).toEqual(['model.norm.weight']);
  });

  test.each([Number.NaN, Number.NEGATIVE_INFINITY])('%d among the weights', async (bad) => {
    const name = 'model.layers.1.self_attn.k_proj.weight';
    const error = await refusal(
      await damaged((tensors) => {
        const values = toFloat32(tensors.get(name)!).slice();
        values[17] = bad;
        tensors.set(name, fromFloat32(values, 'F32', [16, 32]));
      }),
    );
    expect(error.tensors).toEqual([name]);
    expect(error.message).toContain(`got ${bad} at element 17`);
  });

  test('a directory without config.json, and one that is not JSON', async () => {
    expect((await refusal(directory)).message).toContain(`${directory}: no config.json there`);
    await writeFile(join(directory, 'config.json'), '{');
    expect((await refusal(directory)).message).toContain('config.json: cannot be read as JSON');
    await writeFile(join(directory, 'config.json'), 'null');
    expect(() => readLlamaConfig(directory)).toThrow(ConfigError);
  });

  test('a truncated weight file', async () => {
    await damaged(() => {});
    await truncate(join(directory, 'model.safetensors'), 90_000);
    await expect(loadLlama(directory)).rejects.toThrow(SafetensorsError);
  });

  test('a model of another kind, with the path of its config', async () => {
    await damaged((_, config) => {
      config.attention_bias = true;
    });
    await expect(loadLlama(directory)).rejects.toThrow(ConfigError);
    await expect(loadLlama(directory)).rejects.toThrow(
      `${directory}/config.json.attention_bias: refused, got true`,
    );
  });
});

describe('a tied head that is stored twice', () => {
  async function tiedTwice(change: (head: SafetensorsTensor) => SafetensorsTensor): Promise<void> {
    await damaged((tensors, config) => {
      config.tie_word_embeddings = true;
      tensors.set('lm_head.weight', change(tensors.get('model.embed_tokens.weight')!));
    });
  }

  test('is accepted if it equals the table', async () => {
    await tiedTwice((table) => table);
    const model = await loadLlama(directory);
    expect(model.parameters.has('lm_head.weight')).toBe(false);
    model.dispose();
  });

  test('is refused if it differs', async () => {
    await tiedTwice((table) => ({ ...table, data: table.data.map((byte, i) => byte ^ (i === 7 ? 1 : 0)) }));
    await expect(loadLlama(directory)).rejects.toThrow(
      /lm_head.weight differs from model.embed_tokens.weight/,
    );
    await expect(loadLlama(directory)).rejects.toThrow(CheckpointError);
  });
});

test('ignores the rotary buffers of old checkpoints', async () => {
  await damaged((tensors) => {
    tensors.set('model.layers.0.self_attn.rotary_emb.inv_freq', fromFloat32(new Float32Array(4), 'F32', [4]));
  });
  (await loadLlama(directory)).dispose();
});
