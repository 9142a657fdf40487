import { setBackend } from '@meap/tensor-kernels';
import { validate } from '@meap/trainer';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModelParts, loadTrainableModel } from './model.ts';
import { prepareData } from './prepare-data.ts';
import { loadConfig } from './resolve-config.ts';
import { saveTinyModel, tinyTokenizer, Workbench } from './testing.ts';
import { heldOutValidation, validationBatches } from './validation.ts';

const bench = new Workbench();
beforeAll(async () => {
  await setBackend('auto');
  await bench.fill();
});
afterAll(() => bench.dispose());

/** Validates the model of a run before its first step. */
async function measure(...overrides: string[]) {
  const config = loadConfig(bench.recipe, overrides);
  const parts = loadModelParts(config);
  const held = await validationBatches(config, parts, await prepareData(config, parts), 1);
  const model = await loadTrainableModel(config, parts);
  const losses = await validate(heldOutValidation(model, { every: 1, held, numIds: parts.numIds }));
  // The first validation caches the model’s rotary tables.
  const { numTensors } = tf.memory();
  // The second validation must leave no tensors.
  expect(await validate(heldOutValidation(model, { every: 1, held, numIds: parts.numIds }))).toEqual(losses);
  expect(tf.memory().numTensors).toBe(numTensors);
  const trainable = [...model.trainable.values()].every((variable) => variable.trainable);
  const rows = model.config.vocab_size;
  model.dispose();
  return { ...losses!, trainable, rows, held };
}

describe('held-out losses', () => {
  it('of NTP and MEAP are of the same tokens with the same masks', async () => {
    const [meap, ntp] = [await measure(), await measure('masking.ratio=0')];
    expect([meap.rows, ntp.rows]).toEqual([321, 320]);
    // Before training the embedding of [MASK] is the mean of all in both.
    expect(ntp.parts!.masked).toBe(meap.parts!.masked);
    expect(ntp.held.map(({ masked }) => masked)).toEqual(meap.held.map(({ masked }) => masked));
    // MEAP’s softmax has one more id.
    expect(Math.abs(ntp.valLoss - meap.valLoss)).toBeLessThan(1 / 320);
    expect(ntp.trainable).toBe(true);
  });

  it('do not depend on the masking of the run', async () => {
    const [one, two] = [await measure(), await measure('masking.ratio=0.4', 'masking.layout=separate-rows')];
    expect(two.parts!.masked).toBe(one.parts!.masked);
  });

  it('of an adapter without masks keep the adapter attached', async () => {
    const [ntp, lora] = [
      await measure('masking.ratio=0'),
      await measure('masking.ratio=0', 'lora={rank: 2, dropout: 0.5}'),
    ];
    // The frozen weights are bfloat16, also the added row.
    expect(lora.parts!.masked).toBeCloseTo(ntp.parts!.masked, 5);
    expect(lora.trainable).toBe(true);
  });

  it('of a model with an embedding for the mask token add none', async () => {
    const roomy = bench.path('roomy');
    await saveTinyModel(roomy, await tinyTokenizer(), { vocab_size: 384 });
    expect((await measure('masking.ratio=0', `model.path=${roomy}`)).parts!.masked).toBeGreaterThan(0);
  });
});

describe('bytes of a validation', () => {
  const bytesOf = async (...overrides: string[]) => {
    const { held } = await measure(...overrides, `data.files=[${file}]`, 'data.validation_fraction=0.6');
    return held.reduce((sum, { bytes }) => sum + bytes, 0);
  };
  const output = 'The captain féars the moon, and follows the whale to an island.';
  let file: string;
  beforeAll(() => {
    const records = Array.from({ length: 3 }, (_, i) => ({ instruction: `${i}`, output }));
    file = bench.write('bytes.json', JSON.stringify(records));
  });

  it('are those of the answers without end tokens', async () => {
    expect(await bytesOf()).toBe(2 * Buffer.byteLength(output));
  });

  it('exclude truncated text', async () => {
    const config = loadConfig(bench.recipe, [`data.files=[${file}]`]);
    const { encoder, tokenizer } = loadModelParts(config);
    const [{ segments }] = await encoder.encode(
      [
        [
          { role: 'user', content: '1' },
          { role: 'assistant', content: output },
        ],
      ],
      ['assistant'],
    );
    const answer = segments.findIndex(({ trainable }) => trainable);
    const numPrompt = segments.slice(0, answer).reduce((sum, { ids }) => sum + ids.length, 0);
    const ids = Array.from(segments[answer].ids).slice(0, 5);
    const text = await tokenizer.decode(ids);
    expect(await bytesOf(`train.max_length=${numPrompt + 5}`)).toBe(2 * Buffer.byteLength(text));
  });
});
