/**
 * Ids and losses of a trained model, and a training that follows PyTorch's, on every backend. One file, so that a software
 * rasterizer compiles the kernels of both once.
 */
import { existsSync, readFileSync } from 'node:fs';
import { adamW, describeBackend, globalNorm, setBackend } from '@meap/tensor-kernels';
import { compileQuickly } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { Tokenizer } from 'tokenizers';
import { describe, expect, test } from 'vitest';
import { generate, type Llama, loadLlama, loadLora } from './index.ts';
import {
  adapter,
  architecture,
  backends,
  collect,
  devices,
  distance,
  expected,
  fixture,
  tokens,
} from './testing.ts';

interface Golden {
  prompt_ids: number[];
  greedy_ids: number[];
  tinystories_loss: { story_index: number; predicted_tokens: number; mean_nll: number }[];
}

const data = process.env.MEAP_DATA;
const directory = `${data}/models/stories260K`;

compileQuickly();
const onDevices = await devices();
const [DEVICE_TOKENS, DEVICE_STORIES] = [12, 1];
/** Steps are slow in software WebGPU; the second one recomputes. */
const DEVICE_STEPS = 4;

describe.skipIf(!existsSync(directory)).each([...backends, ...onDevices])(
  'trained weights of stories260K on %s',
  (backend) => {
    const isDevice = onDevices.some((name) => name === backend);
    async function load(): Promise<{ model: Llama; golden: Golden }> {
      await setBackend(backend);
      const golden = JSON.parse(readFileSync(`${directory}/golden.json`, 'utf8'));
      return { model: await loadLlama(directory), golden };
    }

    test('continue the prompt with the golden ids', async () => {
      const { model, golden } = await load();
      const all = golden.greedy_ids.length - golden.prompt_ids.length;
      const maxNewTokens = isDevice ? Math.min(DEVICE_TOKENS, all) : all;
      const ids = await collect(generate(model, golden.prompt_ids, { maxNewTokens }));
      expect([...golden.prompt_ids, ...ids]).toEqual(
        golden.greedy_ids.slice(0, golden.prompt_ids.length + maxNewTokens),
      );
      model.dispose();
    });

    test('have the golden losses on real stories', async ({ skip }) => {
      const { model, golden } = await load();
      if (describeBackend().device.includes('software rasterizer')) skip('a software rasterizer is too slow');
      const tokenizer = Tokenizer.fromFile(`${directory}/tokenizer.json`);
      const stories = readFileSync(`${data}/text/tinystories_2MiB.txt`, 'utf8').split('<|endoftext|>');
      // XLA compiles a program for each length.
      const numStories = backend === 'xla' ? 1 : isDevice ? DEVICE_STORIES : undefined;
      const wanted = golden.tinystories_loss.slice(0, numStories);
      for (const { story_index, predicted_tokens, mean_nll } of wanted) {
        const encoding = await tokenizer.encode(stories[story_index].trim());
        const row = encoding.getIds().slice(0, predicted_tokens + 1);
        const sum = tf.tidy(() => {
          const { sum, count } = model.loss(tokens([row.slice(0, -1)]), tokens([row.slice(1)]));
          expect(count).toBe(predicted_tokens);
          return sum;
        });
        const loss = (await sum.data())[0] / predicted_tokens;
        sum.dispose();
        expect(Math.abs(loss - mean_nll)).toBeLessThan(1e-4);
      }
      model.dispose();
    });
  },
);

describe.each([...backends, 'cpu' as const, ...onDevices])('training on %s', (backend) => {
  const isDevice = onDevices.some((name) => name === backend);
  const numSteps = isDevice ? DEVICE_STEPS : expected.losses.length;
  test(`${numSteps} AdamW steps follow PyTorch’s losses and gradient norms`, async () => {
    await setBackend(backend);
    const model = await loadLlama(fixture);
    const zeros = () =>
      [...model.parameters.values()].map(({ shape }) => tf.tidy(() => tf.variable(tf.zeros(shape))));
    const [firstMoments, secondMoments] = [zeros(), zeros()];
    const losses: number[] = [];
    const norms: number[] = [];
    const numTensors = tf.memory().numTensors;

    for (let step = 1; step <= numSteps; step++) {
      const batch = expected.batches[(step - 1) % expected.batches.length];
      let count = 0;
      const { value, grads } = tf.variableGrads(() => {
        const inputs = tokens(batch.map((row) => row.slice(0, -1)));
        const targets = tokens(batch.map((row) => row.slice(1)));
        const loss = model.loss(inputs, targets, undefined, { recompute: step % 2 === 0 });
        count = loss.count;
        return loss.sum;
      }, [...model.parameters.values()]);
      losses.push((await value.data())[0] / count);
      const norm = (await globalNorm(Object.values(grads))) / count;
      norms.push(norm);
      [...model.parameters.values()].forEach((parameter, i) => {
        adamW({
          parameter,
          gradient: grads[parameter.name],
          firstMoment: firstMoments[i],
          secondMoment: secondMoments[i],
          learningRate: 3e-3,
          beta1: 0.9,
          beta2: 0.95,
          epsilon: 1e-8,
          weightDecay: 0.05,
          step,
          gradientScale: Math.min(1, 1 / (norm + 1e-6)) / count,
        });
      });
      tf.dispose([value, ...Object.values(grads)]);
    }

    expect(distance(losses, expected.losses.slice(0, numSteps))).toBeLessThan(1e-5);
    expect(distance(norms, expected.gradientNorms.slice(0, numSteps))).toBeLessThan(1e-4);
    // The rotary tables, made by the first step, are all that is new.
    expect(tf.memory().numTensors).toBe(numTensors + 2);
    tf.dispose([...firstMoments, ...secondMoments]);
    model.dispose();
  });
});

// On other backends lora.test.ts has it, which reads synchronously.
test.skipIf(!onDevices.includes('xla'))('a LoRA adapter on xla has PEFT’s loss and gradients', async () => {
  await setBackend('xla');
  const model = await loadLlama(architecture('llama-3.2').directory);
  const { directory, expected: wanted } = adapter('llama-3.2', 'token-adapter');
  await loadLora(directory, model);
  const { ids } = architecture('llama-3.2').expected;
  const { value, grads } = tf.variableGrads(() => {
    const [inputs, targets] = [ids.map((row) => row.slice(0, -1)), ids.map((row) => row.slice(1))];
    return model.loss(tokens(inputs), tokens(targets), undefined, { dropout: false }).sum;
  }, [...model.trainable.values()]);
  expect(Math.abs((await value.data())[0] - wanted.loss)).toBeLessThan(1e-3);
  for (const [name, parameter] of model.trainable) {
    const gradient = await grads[parameter.name].data();
    expect(distance(gradient, wanted.gradients[name]), name).toBeLessThan(2e-4);
  }
  tf.dispose([value, ...Object.values(grads)]);
  model.dispose();
});
