import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { adamW, setBackend } from '@meap/tensor-kernels';
import { checkVariableGradients, expectNoLeaks } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { beforeEach, describe, expect, test } from 'vitest';
import { AdapterError } from './errors.ts';
import {
  addLora,
  createLlama,
  type ForwardOptions,
  generate,
  type Llama,
  type LoraOptions,
  loadLlama,
  loadLora,
  mergeLora,
  parseConfig,
  removeLora,
  saveLlama,
  unmergeLora,
} from './index.ts';
import { adapter, architecture, backends, collect, distance, gradients, logits, tokens } from './testing.ts';

const bases = ['llama-3.2', 'qwen2'];

/** Gives B values, as training would, so that every matrix gets a gradient. */
function fillB(model: Llama): void {
  for (const [name, parameter] of model.adapter!.parameters) {
    if (!name.includes('lora_B')) continue;
    tf.tidy(() => parameter.assign(tf.randomNormal(parameter.shape, 0, 0.1, 'float32', 5) as tf.Variable));
  }
}

describe.each(backends)('LoRA on %s', (backend) => {
  beforeEach(async () => {
    await setBackend(backend);
  });

  async function adapted(base: string, options: Partial<LoraOptions> = {}) {
    const { directory, expected } = architecture(base);
    const model = await loadLlama(directory);
    addLora(model, { rank: 4, seed: 1, ...options });
    return { model, ids: expected.ids };
  }

  test.each(bases)('a new adapter on %s changes no bit of logits and text', async (base) => {
    const { directory, expected } = architecture(base);
    const model = await loadLlama(directory);
    const before = logits(model, expected.ids);
    const text = () => collect(generate(model, expected.ids[0], { maxNewTokens: 5, stopIds: [] }));
    const textBefore = await text();
    addLora(model, { rank: 4, dropout: 0.5, seed: 1 });
    expect(distance(logits(model, expected.ids), before)).toBe(0);
    expect(await text()).toEqual(textBefore);
    model.dispose();
  });

  test.each([
    ...bases.flatMap((base) => (['adapter', 'token-adapter'] as const).map((kind) => [base, kind] as const)),
    ['qwen3', 'adapter'] as const,
  ])('PEFT’s on %s, %s, has PEFT’s logits, loss and gradients', async (base, kind) => {
    const { directory, expected } = architecture(base);
    const { directory: adapterDirectory, expected: wanted } = adapter(base, kind);
    const model = await loadLlama(directory);
    await loadLora(adapterDirectory, model);
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

  test.each(bases)('merged, %s gives the results of the unmerged adapter', async (base) => {
    const { directory, expected } = architecture(base);
    const model = await loadLlama(directory);
    const plain = logits(model, expected.ids);
    await loadLora(adapter(base).directory, model);
    const unmerged = logits(model, expected.ids);
    mergeLora(model);
    const merged = logits(model, expected.ids);
    expect(distance(merged, unmerged)).toBeLessThan(1e-5);
    unmergeLora(model);
    expect(distance(logits(model, expected.ids), unmerged)).toBeLessThan(1e-5);
    removeLora(model);
    expect(distance(logits(model, expected.ids), plain)).toBeLessThan(1e-5);
    expect(distance(merged, plain)).toBeGreaterThan(0.1);
    model.dispose();
  });

  test.each([0, 0.3])('gradients are the central differences of the loss with dropout %d', async (rate) => {
    const { model, ids } = await adapted('qwen2', { dropout: rate });
    fillB(model);
    const dropout = { seed: 3, step: 7 };
    const [inputs, targets] = [ids.map((row) => row.slice(0, -1)), ids.map((row) => row.slice(1))];
    const loss = () => model.loss(tokens(inputs), tokens(targets), undefined, { dropout }).sum;
    for (const matrix of ['lora_A', 'lora_B']) {
      const chosen = [...model.trainable].filter(([name]) => name.includes(matrix));
      checkVariableGradients(
        loss,
        chosen.map(([, parameter]) => parameter),
      );
    }
    model.dispose();
  });

  test('recomputation draws the same masks, and rows the same masks in any split', async () => {
    const { model, ids } = await adapted('llama-3.2', { dropout: 0.3 });
    fillB(model);
    const dropout = { seed: 3, step: 7 };
    const whole = gradients(model, ids, { dropout });
    const again = gradients(model, ids, { dropout, recompute: true });
    const parts = ids.map((row, firstRow) => gradients(model, [row], { dropout: { ...dropout, firstRow } }));
    const other = gradients(model, ids, { dropout: { ...dropout, step: 8 } });
    for (const [name, values] of whole.byName) {
      expect(distance(again.byName.get(name)!, values)).toBeLessThan(1e-5);
      const sum = parts[0].byName.get(name)!.map((x, i) => x + parts[1].byName.get(name)![i]);
      expect(distance(sum, values)).toBeLessThan(1e-4);
    }
    expect(again.loss).toBe(whole.loss);
    expect(Math.abs(other.loss - whole.loss)).toBeGreaterThan(1e-3);
    model.dispose();
  });

  test('frozen weights get no gradient, and the backward pass saves little', async () => {
    // Shapes that nothing but the gradient of a weight has.
    const config = parseConfig({
      vocab_size: 90,
      hidden_size: 36,
      intermediate_size: 110,
      num_hidden_layers: 2,
      num_attention_heads: 6,
      num_key_value_heads: 2,
    });
    const model = createLlama(config, { seed: 0 });
    const row = Array.from({ length: 40 }, (_, i) => i);
    const passes = async (options: ForwardOptions) => {
      let kept = 0;
      const before = tf.memory().numBytes;
      const profile = await tf.profile(() => {
        tf.tidy(() => {
          tf.variableGrads(() => {
            const { sum } = model.loss(tokens([row]), tokens([row]), undefined, options);
            kept = tf.memory().numBytes - before;

            return sum;
          }, [...model.trainable.values()]);
        });
        return [];
      });
      const computed = profile.kernels.filter(({ name }) => name !== 'Identity' && name !== 'Reshape');
      return { kept, shapes: new Set(computed.flatMap((kernel) => kernel.outputShapes.map(String))) };
    };
    const weightShapes = ['36,36', '12,36', '110,36', '36,110'];
    // Shown its attention, a model without adapters takes more of the single ops that one with them takes.
    const full = await passes({ onAttention: () => undefined });
    expect([...full.shapes]).toEqual(expect.arrayContaining(weightShapes));
    addLora(model, { rank: 2, seed: 0, targetModules: ['q_proj', 'v_proj'] });
    for (const recompute of [false, true]) {
      const { kept, shapes } = await passes({ recompute });
      expect([...shapes].filter((shape) => weightShapes.includes(shape))).toEqual([]);
      // Less in spite of the adapters' own: what only a weight's gradient reads is gone.
      expect(kept).toBeLessThan(full.kept);
    }
    model.dispose();
  });

  test('training changes the adapter alone', async () => {
    const { model, ids } = await adapted('qwen2');
    const before = [...model.parameters.values()].map((parameter) => parameter.dataSync().slice());
    const trainable = [...model.trainable.values()];
    const moments = trainable.map(({ shape }) =>
      tf.tidy(() => [tf.variable(tf.zeros(shape)), tf.variable(tf.zeros(shape))]),
    );
    const losses: number[] = [];
    for (let step = 1; step <= 8; step++) {
      tf.tidy(() => {
        // Without a list of variables TensorFlow.js takes all that are trainable.
        const { value, grads } = tf.variableGrads(() => model.loss(tokens(ids), tokens(ids)).sum);
        losses.push(value.dataSync()[0]);
        expect(Object.keys(grads).sort()).toEqual(trainable.map(({ name }) => name).sort());
        trainable.forEach((parameter, i) => {
          adamW({
            parameter,
            gradient: grads[parameter.name],
            firstMoment: moments[i][0],
            secondMoment: moments[i][1],
            learningRate: 2e-2,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weightDecay: 0,
            step,
            gradientScale: 1 / ids.flat().length,
          });
        });
      });
    }
    expect(losses.at(-1)).toBeLessThan(0.9 * losses[0]);
    [...model.parameters.values()].forEach((parameter, i) => {
      expect(distance(parameter.dataSync(), before[i])).toBe(0);
    });
    tf.dispose(moments.flat());
    model.dispose();
  });

  test('leaks no tensor, and removal makes the weights trainable', async () => {
    const before = tf.memory().numTensors;
    const { model, ids } = await adapted('qwen2', { dropout: 0.1 });
    const dropout = { seed: 0, step: 0 };
    await expectNoLeaks(() => gradients(model, ids, { dropout }));
    await expectNoLeaks(() => gradients(model, ids, { dropout, recompute: true }));
    await expectNoLeaks(() => {
      mergeLora(model);
      unmergeLora(model);
    });
    removeLora(model);
    expect(model.adapter).toBeUndefined();
    expect(model.trainable).toBe(model.parameters);
    expect(gradients(model, ids, {}).byName.size).toBe(model.parameters.size);
    addLora(model, { rank: 1, seed: 0 });
    model.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  test('packed rows and their segments pass through adapters', async () => {
    const { model, ids } = await adapted('llama-3.2');
    fillB(model);
    const [first, second] = [ids[0].slice(0, 7), ids[1].slice(0, 9)];
    const packed = tf.tidy(() =>
      model
        .hidden(tokens([[...first, ...second]]), {
          segmentIds: tokens([[...first.map(() => 0), ...second.map(() => 1)]]),
          positions: tokens([[...first.keys(), ...second.keys()]]),
        })
        .dataSync(),
    );
    const alone = [first, second].flatMap((row) => [
      ...tf.tidy(() => model.hidden(tokens([row])).dataSync()),
    ]);
    expect(distance(packed, alone)).toBeLessThan(1e-5);
    model.dispose();
  });
});

describe('adapters', () => {
  let model: Llama;
  beforeEach(async () => {
    await setBackend('cpu');
    model = await loadLlama(architecture('qwen2').directory);
    return () => model.dispose();
  });

  test('depend on seed and name alone, within PEFT’s limits', async () => {
    const values = (seed: number, targetModules?: LoraOptions['targetModules']) => {
      const { parameters } = addLora(model, { rank: 3, seed, targetModules });
      const copy = new Map([...parameters].map(([name, p]) => [name, p.dataSync().slice() as Float32Array]));
      removeLora(model);
      return copy;
    };
    const all = values(1);
    const some = values(1, ['down_proj', 'v_proj']);
    expect(all.size).toBe(3 * 7 * 2);
    expect(some.size).toBe(3 * 2 * 2);
    for (const [name, matrix] of some) expect(matrix).toEqual(all.get(name));
    const a = all.get('model.layers.2.mlp.down_proj.lora_A.weight')!;
    expect(a).not.toEqual(values(2).get('model.layers.2.mlp.down_proj.lora_A.weight'));
    const limit = 1 / Math.sqrt(56);
    expect(Math.max(...a.map(Math.abs))).toBeLessThanOrEqual(limit);
    // A uniform distribution's deviation is its limit / √3.
    expect(Math.hypot(...a) / Math.sqrt(a.length) / (limit / Math.sqrt(3))).toBeCloseTo(1, 0.8);
    expect(new Set(all.get('model.layers.2.mlp.down_proj.lora_B.weight'))).toEqual(new Set([0]));
  });

  test.each([
    [{ rank: 0 }, 'rank: got 0'],
    [{ rank: 1.5 }, 'rank: got 1.5'],
    [{ rank: 2, alpha: -1 }, 'alpha: got -1'],
    [{ rank: 2, dropout: 1 }, 'dropout: got 1'],
    [{ rank: 2, targetModules: [] }, 'targetModules: got none'],
    [{ rank: 2, targetModules: ['lm_head'] }, 'targetModules: got lm_head, expected some of q_proj'],
  ])('refuse %j', (options, message) => {
    const before = tf.memory().numTensors;
    expect(() => addLora(model, { ...options, seed: 0 } as LoraOptions & { seed: number })).toThrow(message);
    expect(() => addLora(model, { ...options, seed: 0 } as LoraOptions & { seed: number })).toThrow(
      AdapterError,
    );
    expect(tf.memory().numTensors).toBe(before);
  });

  test('refuse operations that the model’s state rules out', async () => {
    expect(() => mergeLora(model)).toThrow(/mergeLora: the model has no adapter/);
    expect(() => removeLora(model)).toThrow(AdapterError);
    addLora(model, { rank: 2, dropout: 0.1, seed: 0 });
    const before = tf.memory().numTensors;
    expect(() => addLora(model, { rank: 2, seed: 0 })).toThrow(/has an adapter already/);
    expect(tf.memory().numTensors).toBe(before);
    expect(() => unmergeLora(model)).toThrow(/not merged/);
    expect(() => gradients(model, [[1, 2, 3]], {})).toThrow(/dropout 0.1, got a gradient without/);
    expect(gradients(model, [[1, 2, 3]], { dropout: false }).loss).toBeGreaterThan(0);
    await expect(saveLlama('never-made', model)).rejects.toThrow(AdapterError);
    mergeLora(model);
    expect(() => mergeLora(model)).toThrow(/merged already/);
  });

  test('merged weights are saved like those of any model', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'llama-model-'));
    const { ids } = architecture('qwen2').expected;
    await loadLora(adapter('qwen2').directory, model);
    mergeLora(model);
    await saveLlama(directory, model, { dtype: 'float32' });
    const loaded = await loadLlama(directory);
    expect(distance(logits(loaded, ids), logits(model, ids))).toBe(0);
    loaded.dispose();
    await rm(directory, { recursive: true });
  });
});
