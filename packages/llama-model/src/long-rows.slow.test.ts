import { setBackend } from '@meap/tensor-kernels';
import { expectNoLeaks } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { parseConfig } from './config.ts';
import { PIECE_TOKENS } from './dropout.ts';
import { addLora, createLlama, type ForwardOptions, type Llama } from './index.ts';
import { normals, randomKey } from './random.ts';
import { distance } from './testing.ts';

// One whole piece and a ragged one.
const LENGTH = PIECE_TOKENS + 37;
const shape = {
  vocab_size: 32,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  max_position_embeddings: 16_384,
};
const ids = Array.from({ length: 20_000 }, (_, i) => (i * i * 7 + 3 * i) % 32);

function gradients(model: Llama, options: ForwardOptions, rows = 2, T = LENGTH) {
  const values = new Map<string, Float32Array>();
  let loss = 0;
  tf.tidy(() => {
    const { value, grads } = tf.variableGrads(() => {
      const inputs = tf.tensor2d(ids.slice(0, rows * T), [rows, T], 'int32');
      const targets = tf.tensor2d(ids.slice(1, rows * T + 1), [rows, T], 'int32');
      const { sum, count } = model.loss(inputs, targets, undefined, options);
      return sum.div(count) as tf.Scalar;
    }, [...model.trainable.values()]);
    loss = value.dataSync()[0];
    for (const [name, parameter] of model.trainable) {
      values.set(name, grads[parameter.name].dataSync() as Float32Array);
    }
  });
  return { loss, values };
}

/** Relative to the largest value of each gradient. */
function expectSame(a: ReturnType<typeof gradients>, b: ReturnType<typeof gradients>) {
  expect(Math.abs(a.loss / b.loss - 1)).toBeLessThan(1e-6);
  for (const [name, values] of b.values) {
    const size = values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    expect(size).toBeGreaterThan(0);
    expect(distance(a.values.get(name)!, values) / size, name).toBeLessThan(2e-5);
  }
}

describe('rows longer than a piece', () => {
  beforeAll(async () => {
    await setBackend('native');
  });

  test('have the loss and gradients of one piece, with biases and a layer with a window', () => {
    const keys = { model_type: 'qwen2', use_sliding_window: true, sliding_window: 100, max_window_layers: 1 };
    const model = createLlama(parseConfig({ ...shape, ...keys }), { seed: 1 });
    expectSame(gradients(model, { recompute: true }, 1), gradients(model, {}, 1));
    model.dispose();
  });

  test('have the loss and gradients of one piece, with QK-norm and a layer without RoPE', () => {
    const qwen3 = createLlama(parseConfig({ ...shape, model_type: 'qwen3', head_dim: 8 }), { seed: 1 });
    const keys = { model_type: 'smollm3', no_rope_layers: [1, 0] };
    for (const model of [qwen3, createLlama(parseConfig({ ...shape, ...keys }), { seed: 1 })]) {
      expectSame(gradients(model, { recompute: true }, 1), gradients(model, {}, 1));
      model.dispose();
    }
  });

  test('documents in segments with restarting positions', () => {
    const model = createLlama(parseConfig(shape), { seed: 1 });
    const starts = [0, 1000, 4090];
    const segment = (t: number) => starts.findLastIndex((start) => start <= t);
    const T = LENGTH;
    const at = Array.from({ length: T }, (_, i) => i);
    const options = {
      segmentIds: tf.tensor2d(at.map(segment), [1, T], 'int32'),
      positions: tf.tensor2d(
        at.map((t) => t - starts[segment(t)]),
        [1, T],
        'int32',
      ),
    };
    expectSame(gradients(model, { ...options, recompute: true }, 1), gradients(model, options, 1));
    model.dispose();
  });

  test('LoRA and blocks draw the same dropout masks', () => {
    const model = createLlama(parseConfig({ ...shape, num_hidden_layers: 1 }), { seed: 1 });
    const { parameters } = addLora(model, { rank: 2, dropout: 0.3, seed: 0 });
    for (const [name, parameter] of parameters) {
      if (!name.includes('lora_B')) continue;
      const values = normals(randomKey(3, name), parameter.size, 0.5);
      tf.tidy(() => parameter.assign(tf.tensor(values, parameter.shape) as tf.Variable));
    }
    const options = { dropout: { seed: 3, step: 7, firstRow: 1, rate: 0.3 } };
    expectSame(gradients(model, { ...options, recompute: true }), gradients(model, options));
    model.dispose();
  });

  test('a row of several pieces', () => {
    const model = createLlama(parseConfig(shape), { seed: 1 });
    const length = LENGTH + PIECE_TOKENS;
    expectSame(gradients(model, { recompute: true }, 1, length), gradients(model, {}, 1, length));
    model.dispose();
  });

  test('leak no tensors', async () => {
    const model = createLlama(parseConfig(shape), { seed: 1 });
    await expectNoLeaks(() => gradients(model, { recompute: true }, 1));
    model.dispose();
  });

  test('hold less than a third of the memory that one piece takes', () => {
    const model = createLlama(parseConfig({ ...shape, intermediate_size: 128 }), { seed: 1 });
    const held = (recompute: boolean) => {
      let bytes = 0;
      const before = tf.memory().numBytes;
      tf.tidy(() => {
        tf.variableGrads(() => {
          const inputs = tf.tensor2d(ids.slice(0, LENGTH), [1, LENGTH], 'int32');
          const { sum } = model.loss(inputs, inputs, undefined, { recompute });
          bytes = tf.memory().numBytes - before;
          return sum;
        }, [...model.parameters.values()]);
      });
      return bytes;
    };
    expect(held(true)).toBeLessThan(held(false) / 3);
    model.dispose();
  });
});
