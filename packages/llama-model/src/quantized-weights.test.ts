/** A model with linear layers in 8 or 4 bits is, to the bit, the float32 model of their values. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bfloat16Bits, memoryOf, quantizedFormat, quantizedFormats, setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addLora, generate, type Llama, loadLlama, mergeLora, saveLlama, weightBytes } from './index.ts';
import { architecture, collect, tokens } from './testing.ts';

// Grouped queries, biases.
const { directory: published, expected } = architecture('qwen2');
const ids = expected.ids[0];
const isQuantized = (name: string) => name.endsWith('_proj.weight');

let work: string;
beforeAll(async () => {
  await setBackend('native');
  work = await mkdtemp(join(tmpdir(), 'quantized-weights-'));
});
afterAll(() => rm(work, { recursive: true }));

const logits = (model: Llama) => tf.tidy(() => model.logits(tokens([ids])).dataSync());

/** Gives the adapter an update that is not zero. */
function fillAdapter({ trainable }: Llama): void {
  for (const [name, parameter] of trainable) {
    if (name.endsWith('lora_B.weight')) tf.tidy(() => parameter.assign(tf.fill(parameter.shape, 0.02)));
  }
}

describe.each(quantizedFormats)('%s', (format) => {
  let full: Llama;
  let quantized: Llama;
  beforeAll(async () => {
    quantized = await loadLlama(published, { quantize: format });
    // Its values in float32.
    await saveLlama(join(work, format), quantized, { dtype: 'float32' });
    full = await loadLlama(join(work, format));
  });
  afterAll(() => {
    full.dispose();
    quantized.dispose();
  });

  test('holds the linear layers of the blocks in as many bytes as planned, and computes the same', async () => {
    for (const [name, parameter] of quantized.parameters) {
      expect(quantizedFormat(parameter), name).toBe(isQuantized(name) ? format : undefined);
    }
    expect(logits(quantized)).toEqual(logits(full));
    const text = (model: Llama) => collect(generate(model, ids, { maxNewTokens: 12, stopIds: [] }));
    expect(await text(quantized)).toEqual(await text(full));
    const other = await loadLlama(published, { quantize: format, weights: 'bfloat16' });
    expect(bfloat16Bits(other.parameters.get('model.embed_tokens.weight')!)).toBeDefined();
    other.dispose();
    const numbers = [...full.parameters.values()].map((x) => memoryOf(x)!.byteLength);
    expect(weightBytes(full.config)).toBe(numbers.reduce((a, b) => a + b));
    expect(weightBytes(full.config, { quantize: format })).toBeLessThan(weightBytes(full.config));
  });

  test('the loss is near that of the published weights', async () => {
    const original = await loadLlama(published);
    const loss = (model: Llama) =>
      tf.tidy(() => model.loss(tokens([ids.slice(0, -1)]), tokens([ids.slice(1)])).sum.dataSync()[0]);
    const difference = Math.abs(loss(quantized) / loss(original) - 1);
    expect(difference).toBeGreaterThan(0);
    expect(difference).toBeLessThan(format === 'int8' ? 1e-3 : 2e-2);
    original.dispose();
  });

  test('an adapter gets the same gradients, and its merged files the same logits', async () => {
    const models = [full, quantized];
    const gradients = models.map((model) => {
      addLora(model, { rank: 2, seed: 3, trainableTokens: [5] });
      fillAdapter(model);
      return tf.tidy(() => {
        const { value, grads } = tf.variableGrads(
          () => model.loss(tokens([ids.slice(0, -1)]), tokens([ids.slice(1)])).sum,
          [...model.trainable.values()],
        );
        return [value, ...Object.values(grads)].map((tensor) => tensor.dataSync());
      });
    });
    expect(gradients[1]).toEqual(gradients[0]);
    expect(() => mergeLora(quantized)).toThrow(`mergeLora: weights in ${format} would round the update away`);
    const before = logits(quantized);
    await saveLlama(join(work, 'merged'), quantized, { dtype: 'float32', mergeAdapter: true });
    expect(logits(quantized)).toEqual(before);
    const merged = await loadLlama(join(work, 'merged'));
    mergeLora(full);
    expect(logits(merged)).toEqual(logits(full));
    merged.dispose();
  });
});

test('is refused on a backend without quantised weights', async () => {
  await setBackend('cpu');
  await expect(loadLlama(published, { quantize: 'nf4' })).rejects.toThrow(
    "needs the native backend, got 'cpu'",
  );
  await setBackend('native');
});
