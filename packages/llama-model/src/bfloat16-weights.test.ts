/** A model whose matrices are stored as bfloat16 is, to the bit, the float32 model of the rounded weights. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSafetensors } from '@meap/safetensors';
import { BackendError, bfloat16Bits, isStoredAsBfloat16, setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  addLora,
  generate,
  growVocabulary,
  type Llama,
  loadLlama,
  mergeLora,
  saveLlama,
  unmergeLora,
} from './index.ts';
import { architecture, collect, tokens } from './testing.ts';

// Untied head, grouped queries, biases.
const { directory: published, expected } = architecture('qwen2');
const ids = expected.ids[0];

let directory: string;
beforeAll(async () => {
  await setBackend('native');
  directory = await mkdtemp(join(tmpdir(), 'bfloat16-weights-'));
  const model = await loadLlama(published);
  await saveLlama(directory, model, { dtype: 'bfloat16' });
  model.dispose();
});
afterAll(() => rm(directory, { recursive: true }));

describe('weights: bfloat16', () => {
  let full: Llama;
  let rounded: Llama;
  beforeEach(async () => {
    full = await loadLlama(directory);
    rounded = await loadLlama(directory, { weights: 'bfloat16' });
    return () => {
      full.dispose();
      rounded.dispose();
    };
  });
  const logits = (model: Llama) => tf.tidy(() => model.logits(tokens([ids])).dataSync());

  test('holds matrices in bfloat16, vectors in float32, and computes the same', async () => {
    for (const parameter of rounded.parameters.values()) {
      expect(isStoredAsBfloat16(parameter)).toBe(parameter.rank === 2);
    }
    expect(logits(rounded)).toEqual(logits(full));
    const text = (model: Llama) => collect(generate(model, ids, { maxNewTokens: 12, stopIds: [] }));
    expect(await text(rounded)).toEqual(await text(full));
  });

  test('an adapter on it gets the same gradients', () => {
    const gradients = [full, rounded].map((model) => {
      addLora(model, { rank: 2, seed: 3 });
      return tf.tidy(() => {
        const { value, grads } = tf.variableGrads(
          () => model.loss(tokens([ids.slice(0, -1)]), tokens([ids.slice(1)])).sum,
          [...model.trainable.values()],
        );
        return [value, ...Object.values(grads)].map((tensor) => tensor.dataSync());
      });
    });
    expect(gradients[1]).toEqual(gradients[0]);
  });

  test('grows and merges in bfloat16, and its files load as float32', async () => {
    const grown = [full, rounded].map((model) =>
      growVocabulary(model, { size: model.config.vocab_size + 3 }),
    );
    for (const [name, parameter] of grown[1].parameters) {
      expect(isStoredAsBfloat16(parameter), name).toBe(parameter.rank === 2);
    }
    for (const model of grown) {
      const adapter = addLora(model, { rank: 2, seed: 3 });
      for (const [name, parameter] of adapter.parameters) {
        if (name.endsWith('lora_B.weight')) tf.tidy(() => parameter.assign(tf.fill(parameter.shape, 0.02)));
      }
      mergeLora(model);
    }
    const saved = await mkdtemp(join(tmpdir(), 'merged-'));
    await saveLlama(saved, grown[0], { dtype: 'bfloat16' });
    const merged = await loadLlama(saved);
    expect(logits(grown[1])).toEqual(logits(merged));
    expect(() => unmergeLora(grown[1])).toThrow('load the model again');
    merged.dispose();
    await rm(saved, { recursive: true });
    [full, rounded] = grown;
  });

  test('stores trained rows of a tied table in bfloat16', async () => {
    const tied = await mkdtemp(join(tmpdir(), 'tied-'));
    const source = await loadLlama(architecture('llama-3.2').directory);
    await saveLlama(tied, source, { dtype: 'bfloat16' });
    source.dispose();
    const models = [await loadLlama(tied), await loadLlama(tied, { weights: 'bfloat16' })];
    for (const model of models) {
      const adapter = addLora(model, { rank: 2, seed: 3, trainableTokens: [5, 2] });
      const { rows_KE } = adapter.tokenRows!;
      // More digits than bfloat16 has.
      tf.tidy(() => (rows_KE as tf.Tensor as tf.Variable).assign(tf.mul(rows_KE, 1.234567)));
      mergeLora(model);
    }
    await saveLlama(tied, models[0], { dtype: 'bfloat16' });
    const merged = await loadLlama(tied);
    expect(logits(models[1])).toEqual(logits(merged));
    for (const model of [...models, merged]) model.dispose();
    await rm(tied, { recursive: true });
  });

  test('names a value that is not finite, in reading and in writing', async () => {
    const name = 'model.layers.0.mlp.up_proj.weight';
    const bits = bfloat16Bits(rounded.parameters.get(name)!)!;
    bits[7] = 0xff80;
    const broken = await mkdtemp(join(tmpdir(), 'broken-'));
    await expect(saveLlama(broken, rounded, { dtype: 'bfloat16' })).rejects.toThrow(
      `${name} holds a value that is not finite, got -Infinity at element 7`,
    );
    await cp(directory, broken, { recursive: true });
    const file = await readFile(join(broken, 'model.safetensors'));
    const reader = await openSafetensors(broken);
    await reader.close();
    let start = 8 + Number(file.readBigUInt64LE(0));
    for (const [key, { byteLength }] of reader.tensors) {
      if (key === name) break;
      start += byteLength;
    }
    file.writeUInt16LE(0x7fc0, start);
    await writeFile(join(broken, 'model.safetensors'), file);
    for (const weights of ['float32', 'bfloat16'] as const) {
      await expect(loadLlama(broken, { weights })).rejects.toThrow(
        `${name} holds a value that is not finite, got NaN at element 0`,
      );
    }
    await rm(broken, { recursive: true });
  });

  test('is refused on a backend without bfloat16', async () => {
    await setBackend('cpu');
    await expect(loadLlama(directory, { weights: 'bfloat16' })).rejects.toThrow(BackendError);
    await setBackend('native');
  });
});
