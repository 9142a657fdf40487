import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readSafetensors } from '@meap/safetensors';
import { adamW, quantizedFormat, setBackend } from '@meap/tensor-kernels';
import { expectNoLeaks } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { AdapterError } from './errors.ts';
import {
  addLora,
  type Llama,
  Llama as LlamaModel,
  loadLlama,
  loadLora,
  mergeLora,
  removeLora,
  saveLlama,
  saveLora,
  unmergeLora,
} from './index.ts';
import { doraLinear, type LowRank, type Magnitudes } from './linear-layers.ts';
import { adapter, architecture, backends, distance, gradients, logits, tokens } from './testing.ts';

const bases = ['llama-3.2', 'qwen2'];
const MAGNITUDES = 'lora_magnitude_vector';

async function published(base: string): Promise<Llama> {
  const model = await loadLlama(architecture(base).directory);
  await loadLora(adapter(base, 'dora-adapter').directory, model);
  return model;
}

async function temporaryFolder(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'llama-model-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  return directory;
}

/** The definition in plain ops, with norms that are constants (arXiv 2402.09353, §4.3). */
function reference(
  x_NI: tf.Tensor2D,
  weight_OI: tf.Tensor2D,
  bias_O: tf.Tensor1D,
  { a_RI, b_OR, scaling, drop = (x) => x }: LowRank,
  magnitude_O: tf.Tensor1D,
): tf.Tensor {
  const update_OI = tf.mul(tf.matMul(b_OR, a_RI), scaling);
  const norm_O = tf.tensor1d(tf.norm(tf.add(weight_OI, update_OI), 2, 1).dataSync());
  const factor_O = tf.div(magnitude_O, norm_O);
  const dropped_NI = drop(x_NI) as tf.Tensor2D;
  const base_NO = tf.matMul(dropped_NI, weight_OI, false, true);
  const change_NO = tf.add(
    tf.mul(base_NO, tf.sub(factor_O, 1)),
    tf.mul(tf.matMul(dropped_NI, update_OI as tf.Tensor2D, false, true), factor_O),
  );
  return tf.add(tf.add(tf.matMul(x_NI, weight_OI, false, true), bias_O), change_NO);
}

describe.each([...backends, 'cpu'] as const)('doraLinear on %s', (backend) => {
  test.each([false, true])('has values and gradients of the definition, dropout %j', async (drops) => {
    await setBackend(backend);
    const random = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 0.5, 'float32', seed);
    tf.tidy(() => {
      const [x, a, b] = [random([9, 13], 1), random([2, 13], 2), random([7, 2], 3)];
      const [weight, bias] = [random([7, 13], 4) as tf.Tensor2D, random([7], 5) as tf.Tensor1D];
      const magnitude = tf.add(random([7], 6), 1.5);
      const mask = tf.cast(tf.greater(random([9, 13], 7), 0), 'float32').mul(2);
      const drop = drops ? (x: tf.Tensor) => tf.mul(x, mask) : undefined;
      const dy = random([9, 7], 8);
      const results = (run: (...given: tf.Tensor[]) => tf.Tensor) => {
        const { value, grads } = tf.valueAndGrads(run)([x, a, b, magnitude], dy);
        return [value, ...grads].map((tensor) => tensor.dataSync());
      };
      const lowRank = (a_RI: tf.Tensor, b_OR: tf.Tensor) => ({ a_RI, b_OR, scaling: 0.7, drop }) as LowRank;
      const squares_O = tf.sum(tf.square(weight), 1);
      const actual = results((x, a, b, magnitude_O) =>
        doraLinear(x, weight, bias, lowRank(a, b), { magnitude_O, squares_O } as Magnitudes),
      );
      const wanted = results((x, a, b, magnitude) =>
        reference(x as tf.Tensor2D, weight, bias, lowRank(a, b), magnitude as tf.Tensor1D),
      );
      actual.forEach((values, i) => {
        expect(distance(values, wanted[i]), `${i}`).toBeLessThan(1e-5);
      });
    });
  });
});

describe.each(backends)('DoRA on %s', (backend) => {
  beforeEach(async () => {
    await setBackend(backend);
  });

  test.each(bases)('of PEFT on %s has PEFT’s logits, gradients and losses in training', async (base) => {
    const { ids } = architecture(base).expected;
    const { expected: wanted } = adapter(base, 'dora-adapter');
    const model = await published(base);
    expect(distance(logits(model, ids), wanted.logits.flat(2))).toBeLessThan(1e-4);
    // The first backend is the fastest.
    const isFirst = backend === backends[0];
    for (const recompute of isFirst ? [false, true] : [false]) {
      const { loss, byName } = gradients(model, ids, { recompute, dropout: false });
      expect(Math.abs(loss - wanted.loss)).toBeLessThan(1e-3);
      expect([...byName.keys()].sort()).toEqual(Object.keys(wanted.gradients).sort());
      for (const [name, values] of Object.entries(wanted.gradients)) {
        expect(distance(byName.get(name)!, values), name).toBeLessThan(2e-4);
      }
    }
    const losses = wanted.losses.slice(0, isFirst ? undefined : 2);
    expect(distance(trainingLosses(model, ids, losses.length), losses)).toBeLessThan(1e-4);
    model.dispose();
  });
});

describe(`DoRA on ${backends[0]}`, () => {
  beforeEach(async () => {
    await setBackend(backends[0]);
  });

  test('a new one changes no bit, and masks of dropout are the same when recomputed', async () => {
    const { directory, expected } = architecture('qwen2');
    const before = tf.memory().numTensors;
    const model = await loadLlama(directory);
    const plain = logits(model, expected.ids);
    addLora(model, { rank: 4, seed: 1, dropout: 0.3, useDora: true, modulesToSave: ['norm'] });
    expect(distance(logits(model, expected.ids), plain)).toBe(0);
    expect([...model.trainable.keys()].filter((name) => name.endsWith(MAGNITUDES))).toHaveLength(3 * 7);
    expect([...model.trainable.keys()].filter((name) => name.endsWith('norm.weight'))).toHaveLength(
      3 * 2 + 1,
    );
    const dropout = { seed: 3, step: 7 };
    const [whole, again] = [false, true].map((recompute) =>
      gradients(model, expected.ids, { dropout, recompute }),
    );
    expect(again.loss).toBe(whole.loss);
    for (const [name, values] of whole.byName) {
      expect(distance(again.byName.get(name)!, values), name).toBeLessThan(1e-5);
    }
    await expectNoLeaks(() => gradients(model, expected.ids, { dropout }));
    mergeLora(model);
    model.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  test.each(bases)('merged, %s gives the results of the unmerged adapter, and back', async (base) => {
    const { ids } = architecture(base).expected;
    const model = await published(base);
    const unmerged = logits(model, ids);
    await expectNoLeaks(() => {
      mergeLora(model);
      unmergeLora(model);
    });
    expect(distance(logits(model, ids), unmerged)).toBeLessThan(1e-5);
    mergeLora(model);
    expect(distance(logits(model, ids), unmerged)).toBeLessThan(1e-5);
    unmergeLora(model);
    removeLora(model);
    const plain = await loadLlama(architecture(base).directory);
    expect(distance(logits(model, ids), logits(plain, ids))).toBeLessThan(1e-5);
    plain.dispose();
    model.dispose();
  });
});

/** Losses of AdamW steps as in make_dora_adapters.py. */
function trainingLosses(model: Llama, ids: number[][], steps: number): number[] {
  const trained = [...model.trainable.values()];
  const moments = trained.map(({ shape }) =>
    tf.tidy(() => [tf.variable(tf.zeros(shape)), tf.variable(tf.zeros(shape))]),
  );
  const [inputs, targets] = [ids.map((row) => row.slice(0, -1)), ids.map((row) => row.slice(1))];
  const losses: number[] = [];
  for (let step = 1; step <= steps; step++) {
    tf.tidy(() => {
      const loss = () => {
        const { sum, count } = model.loss(tokens(inputs), tokens(targets), undefined, { dropout: false });
        return sum.div(count) as tf.Scalar;
      };
      const { value, grads } = tf.variableGrads(loss, trained);
      losses.push(value.dataSync()[0]);
      trained.forEach((parameter, i) => {
        adamW({
          ...{ parameter, gradient: grads[parameter.name] },
          ...{ firstMoment: moments[i][0], secondMoment: moments[i][1], step, gradientScale: 1 },
          ...{ learningRate: 2e-2, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.01 },
        });
      });
    });
  }
  tf.dispose(moments.flat());
  return losses;
}

test('PEFT’s files survive reading and writing', async () => {
  await setBackend('cpu');
  for (const base of bases) {
    const source = adapter(base, 'dora-adapter').directory;
    const directory = await temporaryFolder();
    const model = await published(base);
    await saveLora(directory, model);
    model.dispose();
    const [config, peft] = await Promise.all(
      [directory, source].map(async (folder) =>
        JSON.parse(await readFile(join(folder, 'adapter_config.json'), 'utf8')),
      ),
    );
    for (const key of ['use_dora', 'use_rslora', 'modules_to_save']) expect(config[key]).toEqual(peft[key]);
    const [written, original] = await Promise.all(
      [directory, source].map((folder) => readSafetensors(join(folder, 'adapter_model.safetensors'))),
    );
    expect([...written.tensors.keys()].sort()).toEqual([...original.tensors.keys()].sort());
    for (const [name, { data }] of original.tensors) {
      expect(Buffer.compare(data, written.tensors.get(name)!.data), name).toBe(0);
    }
  }
});

test.runIf(backends.includes('native'))(
  'a base in 4 bits gives what its values give, merged too',
  async () => {
    await setBackend('native');
    const { directory, expected } = architecture('qwen2');
    const { directory: adapterDirectory } = adapter('qwen2', 'dora-adapter');
    const quantized = await loadLlama(directory, { quantize: 'nf4' });
    const values = new Map([...quantized.parameters].map(([name, p]) => [name, p.dataSync().slice()]));
    const copies = [...quantized.parameters].map(([name, { shape }]) => {
      return [name, tf.tidy(() => tf.variable(tf.tensor(values.get(name)!, shape)))] as const;
    });
    const plain = new LlamaModel(quantized.config, new Map(copies));
    for (const model of [quantized, plain]) await loadLora(adapterDirectory, model);
    expect([...quantized.parameters.values()].map(quantizedFormat)).toContain('nf4');
    const [one, other] = [quantized, plain].map((model) =>
      gradients(model, expected.ids, { dropout: false }),
    );
    expect(Math.abs(one.loss - other.loss)).toBeLessThan(1e-4);
    for (const [name, gradient] of other.byName) {
      expect(distance(one.byName.get(name)!, gradient), name).toBeLessThan(1e-4);
    }
    expect(() => mergeLora(quantized)).toThrow(AdapterError);
    const folder = await temporaryFolder();
    await saveLlama(folder, quantized, { dtype: 'float32', mergeAdapter: true });
    const merged = await loadLlama(folder);
    expect(distance(logits(merged, expected.ids), logits(quantized, expected.ids))).toBeLessThan(1e-4);
    for (const model of [quantized, plain, merged]) model.dispose();
  },
);
