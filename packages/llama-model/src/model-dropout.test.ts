/** Dropout of the embeddings and of the outputs of both halves of a block. */
import { setBackend, setPrecision } from '@meap/tensor-kernels';
import { checkVariableGradients, expectNoLeaks } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { beforeEach, describe, expect, test } from 'vitest';
import { type LlamaConfig, parseConfig } from './config.ts';
import { type DropoutOptions, dropout } from './dropout.ts';
import { createLlama, type ForwardOptions, type Llama } from './index.ts';
import { EMBEDDING } from './parameters.ts';
import { backends, distance, gradients, tokens } from './testing.ts';

const shape = {
  vocab_size: 32,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  max_position_embeddings: 64,
  initializer_range: 0.3,
};
const ids = Array.from({ length: 4 }, (_, row) =>
  Array.from({ length: 10 }, (_, i) => (row * 7 + i * i) % 32),
);
const key = { seed: 3, step: 5, firstRow: 2, rate: 0.25 };

const lossOf = (model: Llama, rows: number[][], options: ForwardOptions) =>
  tf.tidy(() => model.loss(tokens(rows), tokens(rows), undefined, options).sum.dataSync()[0]);

/** Plain ops, one row, with masks of ones that are dropped and scaled. */
function referenceHidden(model: Llama, row: number[], key: DropoutOptions): tf.Tensor2D {
  const { config } = model;
  const T = row.length;
  const { hidden_size: E, head_dim: D, num_attention_heads: H } = config;
  const weight = (name: string) => model.parameters.get(name)! as tf.Tensor as tf.Tensor2D;
  const drop = (x: tf.Tensor, purpose: string) =>
    x.mul(dropout(tf.ones([1, T, E]), key.rate!, key, purpose).reshape([T, E])) as tf.Tensor2D;
  const norm = (x: tf.Tensor, name: string) =>
    x.div(x.square().mean(1, true).add(config.rms_norm_eps).sqrt()).mul(weight(name)) as tf.Tensor2D;
  const angles = tf.outerProduct(
    tf.range(0, T) as tf.Tensor1D,
    tf.tensor1d(Array.from({ length: D / 2 }, (_, i) => config.rope_theta ** ((-2 * i) / D))),
  );
  const rotate = (x: tf.Tensor2D) => {
    const [a, b] = tf.split(x, 2, 1);
    const [cos, sin] = [tf.cos(angles), tf.sin(angles)];
    return tf.concat([a.mul(cos).sub(b.mul(sin)), b.mul(cos).add(a.mul(sin))], 1) as tf.Tensor2D;
  };
  const future = tf.tensor2d(
    Array.from({ length: T }, (_, i) => Array.from({ length: T }, (_, j) => (j > i ? -1e9 : 0))),
  );
  let x: tf.Tensor = drop(tf.gather(weight(EMBEDDING), row), EMBEDDING);
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const at = `model.layers.${layer}`;
    const linear = (x: tf.Tensor, name: string) =>
      tf.matMul<tf.Tensor2D>(x as tf.Tensor2D, weight(`${at}.${name}.weight`), false, true);
    const n = norm(x, `${at}.input_layernorm.weight`);
    const [k, v] = [rotate(linear(n, 'self_attn.k_proj')), linear(n, 'self_attn.v_proj')];
    const heads = tf.split(linear(n, 'self_attn.q_proj'), H, 1).map((q) => {
      const scores = tf
        .matMul(rotate(q as tf.Tensor2D), k, false, true)
        .div(Math.sqrt(D))
        .add(future);
      return tf.matMul(tf.softmax(scores) as tf.Tensor2D, v);
    });
    x = x.add(drop(linear(tf.concat(heads, 1), 'self_attn.o_proj'), `${at}.self_attn`));
    const m = norm(x, `${at}.post_attention_layernorm.weight`);
    const gate = linear(m, 'mlp.gate_proj');
    const gated = gate.mul(tf.sigmoid(gate)).mul(linear(m, 'mlp.up_proj')) as tf.Tensor2D;
    x = x.add(drop(linear(gated, 'mlp.down_proj'), `${at}.mlp`));
  }
  return norm(x, 'model.norm.weight');
}

describe.each([...backends, 'cpu'] as const)('dropout of a model on %s', (backend) => {
  const created = (changes: Partial<LlamaConfig> = {}) =>
    createLlama(parseConfig({ ...shape, ...changes }), { seed: 1 });
  beforeEach(async () => {
    await setBackend(backend);
  });

  test('equals plain ops with a mask at every place', () => {
    const model = created();
    const hidden = tf.tidy(() => model.hidden(tokens([ids[0]]), { dropout: key }).dataSync());
    const expected = tf.tidy(() => referenceHidden(model, ids[0], key).dataSync());
    expect(distance(hidden, expected)).toBeLessThan(1e-4);
    const whole = tf.tidy(() => model.hidden(tokens([ids[0]])).dataSync());
    expect(distance(hidden, whole)).toBeGreaterThan(0.1);
    model.dispose();
  });

  test.each([{}, { tie_word_embeddings: true }])('has the gradients of its loss: %j', (changes) => {
    const model = created(changes);
    const loss = () => model.loss(tokens(ids), tokens(ids), undefined, { dropout: key }).sum;
    checkVariableGradients(loss, [...model.parameters.values()]);
    model.dispose();
  });

  test('has the bytes of no dropout at rate 0', () => {
    const model = created();
    const plain = gradients(model, ids, {});
    expect(gradients(model, ids, { dropout: { seed: 3, step: 5, rate: 0 } })).toEqual(plain);
    expect(gradients(model, ids, { dropout: false })).toEqual(plain);
    model.dispose();
  });

  test('recomputation and single ops draw the same masks', () => {
    const model = created();
    const whole = gradients(model, ids, { dropout: key });
    const recomputed = gradients(model, ids, { dropout: key, recompute: true });
    expect(recomputed.loss).toBe(whole.loss);
    const single = gradients(model, ids, { dropout: key, onAttention: () => undefined });
    expect(single.loss / whole.loss).toBeCloseTo(1, 5);
    for (const [name, gradient] of whole.byName) {
      expect(distance(recomputed.byName.get(name)!, gradient), name).toBeLessThan(1e-4);
      expect(distance(single.byName.get(name)!, gradient), name).toBeLessThan(1e-4);
    }
    model.dispose();
  });

  test('does not depend on the split of a step, and differs by seed, step and row', () => {
    const model = created();
    const whole = lossOf(model, ids, { dropout: key });
    const rows = ids.map((row, i) =>
      lossOf(model, [row], { dropout: { ...key, firstRow: key.firstRow + i } }),
    );
    expect(rows.reduce((sum, loss) => sum + loss, 0) / whole).toBeCloseTo(1, 5);
    for (const other of [{ seed: 4 }, { step: 6 }, { firstRow: 3 }, { rate: 0.3 }])
      expect(lossOf(model, ids, { dropout: { ...key, ...other } })).not.toBe(whole);
    model.dispose();
  });

  test('saves nothing for the backward pass, and leaks nothing', async () => {
    const model = created();
    const held = (options: ForwardOptions) => {
      let bytes = 0;
      const before = tf.memory().numBytes;
      tf.tidy(() => {
        tf.variableGrads(() => {
          const { sum } = model.loss(tokens(ids), tokens(ids), undefined, options);
          bytes = tf.memory().numBytes - before;
          return sum;
        }, [...model.parameters.values()]);
      });
      return bytes;
    };
    for (const recompute of [false, true]) {
      // The first pass caches rotary tables.
      const plain = held({ recompute }) && held({ recompute });
      expect(held({ recompute, dropout: key })).toBe(plain);
      await expectNoLeaks(() => gradients(model, ids, { recompute, dropout: key }));
    }
    model.dispose();
  });
});

test('draws the same masks on every backend, and in bfloat16', async () => {
  const losses: number[] = [];
  for (const backend of [...backends, 'cpu'] as const) {
    await setBackend(backend);
    const model = createLlama(parseConfig(shape), { seed: 1 });
    losses.push(lossOf(model, ids, { dropout: key }));
    if (backend === 'native') {
      setPrecision('bfloat16');
      losses.push(
        lossOf(model, ids, { dropout: key }),
        lossOf(model, ids, { dropout: key, recompute: true }),
      );
      setPrecision('float32');
      expect(losses[1]).not.toBe(losses[0]);
    }
    model.dispose();
  }
  for (const loss of losses) expect(Math.abs(loss / losses[0] - 1)).toBeLessThan(0.01);
});
