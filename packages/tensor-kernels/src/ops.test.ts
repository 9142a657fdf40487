/** Gradients of every op by central differences on each backend, and what each refuses. */

import { checkGradients, expectClose, expectNoLeaks } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from './index.ts';

const random = <T extends tf.Tensor>(shape: number[], seed: number) =>
  tf.randomNormal(shape, 0, 1, 'float32', seed) as T;

/** Loss and inputs of each op; the squares make every gradient depend on every value. */
const cases: [string, (...x: tf.Tensor[]) => tf.Tensor, number[][]][] = [
  [
    'attention',
    (q, key, v) => k.attention(q as tf.Tensor4D, key as tf.Tensor4D, v as tf.Tensor4D, { window: 5 }),
    [
      [2, 7, 4, 6],
      [2, 7, 2, 6],
      [2, 7, 2, 6],
    ],
  ],
  ['rmsNorm', (x, w) => k.rmsNorm(x, w as tf.Tensor1D, 1e-5), [[4, 9], [9]].map((shape) => shape)],
  [
    'rotaryEmbedding',
    (x) => {
      const angle = random([5, 3], 9);
      return k.rotaryEmbedding(x as tf.Tensor4D, tf.cos(angle), tf.sin(angle)).mul(random([2, 5, 2, 6], 8));
    },
    [[2, 5, 2, 6]],
  ],
  [
    'swiGlu',
    (gate, up) => k.swiGlu(gate, up),
    [
      [3, 8],
      [3, 8],
    ],
  ],
  [
    'linear',
    (x, w) => k.linear(x, w as tf.Tensor2D),
    [
      [2, 3, 5],
      [4, 5],
    ],
  ],
  ['embedding', (t) => k.embedding(tf.tensor1d([3, 0, 3], 'int32'), t as tf.Tensor2D), [[5, 4]]],
  [
    'linearCrossEntropyWithZLoss',
    (x, w) =>
      k.linearCrossEntropyWithZLoss(
        x as tf.Tensor2D,
        w as tf.Tensor2D,
        tf.tensor1d([3, 0, 6, 3], 'int32'),
        tf.tensor1d([1, 1, 0, 0.5]),
        { zLoss: 0.3 },
      ).sum,
    [
      [4, 5],
      [7, 5],
    ],
  ],
  [
    'linearCrossEntropy',
    (x, w) =>
      k.linearCrossEntropy(
        x as tf.Tensor2D,
        w as tf.Tensor2D,
        tf.tensor1d([3, 0, 6, 3], 'int32'),
        tf.tensor1d([1, 1, 0, 0.5]),
      ),
    [
      [4, 5],
      [7, 5],
    ],
  ],
  [
    'recompute',
    (x, w) => k.recompute(([x, w]) => k.rmsNorm(tf.tanh(x), w as tf.Tensor1D, 1e-5), [x, w]),
    [[4, 9], [9]],
  ],
];

describe.each(['native', 'wasm', 'cpu'] as const)('on %s', (backend) => {
  beforeAll(async () => {
    await k.setBackend(backend);
  });

  it.each(cases)('%s has the gradient of its value', (_, f, shapes) => {
    checkGradients(
      (...x) => tf.sum(tf.square(f(...x))),
      shapes.map((shape, i) => random(shape, i + 1)),
    );
  });

  it.each(cases)('%s leaks no tensors', async (_, f, shapes) => {
    const inputs = shapes.map((shape, i) => random(shape, i + 1));
    await expectNoLeaks(() => {
      tf.dispose(tf.valueAndGrads((...x) => tf.sum(tf.square(f(...x))))(inputs));
    });
    tf.dispose(inputs);
  });
});

describe('recompute', () => {
  beforeAll(async () => {
    await k.setBackend('native');
  });

  it('nests and composes with other ops, with exact gradients', () => {
    const [x, w] = [random([6, 6], 1), random([6, 6], 2)];
    const block = (x: tf.Tensor, w: tf.Tensor) => tf.tanh(tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D));
    const loss = (run: (x: tf.Tensor, w: tf.Tensor) => tf.Tensor) =>
      tf.valueAndGrads((x, w) => tf.sum(tf.square(run(run(x, w).mul(2), w))))([x, w]);
    const direct = loss(block);
    const again = ([x, w]: tf.Tensor[]) => block(x, w);
    const recomputed = loss((x, w) => k.recompute(again, [x, w]));
    const nested = loss((x, w) => k.recompute(([x, w]) => k.recompute(again, [x, w]), [x, w]));
    for (const other of [recomputed, nested]) {
      expectClose(other.value, direct.value, { relative: 0 });
      expectClose(other.grads[0], direct.grads[0], { relative: 0 });
      expectClose(other.grads[1], direct.grads[1], { relative: 0 });
    }
  });
});

describe('linearCrossEntropy with a frozen head', () => {
  it.each(['native', 'cpu'] as const)('has the same loss and input gradient on %s', async (backend) => {
    await k.setBackend(backend);
    const [x, w] = [random<tf.Tensor2D>([5, 4], 1), random<tf.Tensor2D>([7, 4], 2)];
    const targets = tf.tensor1d([3, 0, 6, 3, 1], 'int32');
    const run = (frozenWeight: boolean) =>
      tf.valueAndGrad((x) => k.linearCrossEntropy(x as tf.Tensor2D, w, targets, undefined, { frozenWeight }))(
        x,
      );
    const [trained, frozen] = [run(false), run(true)];
    expectClose(frozen.value, trained.value, { relative: 0 });
    expectClose(frozen.grad, trained.grad, { relative: 0 });
  });

  it('computes no gradient of the head on native', async () => {
    await k.setBackend('native');
    const [x, w] = [random<tf.Tensor2D>([5, 4], 1), random<tf.Tensor2D>([9000, 4], 2)];
    const targets = tf.zeros([5], 'int32') as tf.Tensor1D;
    const profile = await tf.profile(() =>
      tf.grad((x) => k.linearCrossEntropy(x as tf.Tensor2D, w, targets, undefined, { frozenWeight: true }))(
        x,
      ),
    );
    const shapes = profile.kernels.flatMap(({ outputShapes }) => outputShapes.map(String));
    expect(shapes).not.toContain('9000,4');
  });
});

describe('recompute with constants', () => {
  it('keeps constants of the forward pass until the backward pass', async () => {
    await k.setBackend('native');
    const x = random([1, 5, 2, 6], 1) as tf.Tensor4D;
    const turn = (x: tf.Tensor, [cos, sin]: tf.Tensor[]) => k.rotaryEmbedding(x as tf.Tensor4D, cos, sin);
    const tables = () => {
      const angle = random([5, 3], 9);
      return [tf.cos(angle), tf.sin(angle)];
    };
    const loss = (y: tf.Tensor) => tf.sum(tf.mul(y, random([1, 5, 2, 6], 3)));
    const direct = tf.grad((x) => loss(turn(x, tables())))(x);
    const recomputed = tf.grad((x) =>
      loss(tf.tidy(() => k.recompute(([x], constants) => turn(x, constants), [x], tables()))),
    )(x);
    expectClose(recomputed, direct, { relative: 0 });
  });
});

describe('bad input', () => {
  beforeAll(async () => {
    await k.setBackend('native');
  });
  const zeros = <T extends tf.Tensor>(...shape: number[]) => tf.zeros(shape) as T;

  it('is refused with the value and what is expected', () => {
    expect(() => k.attention(zeros(1, 4, 3, 8), zeros(1, 4, 2, 8), zeros(1, 4, 2, 8))).toThrow(
      'attention: 3 query heads cannot share 2',
    );
    expect(() => k.attention(zeros(1, 4, 2, 8), zeros(1, 3, 2, 8), zeros(1, 3, 2, 8))).toThrow('S=3');
    expect(() => k.attention(zeros(1, 4, 2, 8), zeros(1, 4, 2, 6), zeros(1, 4, 2, 6))).toThrow(
      'got [1,4,2,6], expected [1, *, *, 8]',
    );
    const four = zeros<tf.Tensor4D>(1, 4, 2, 8);
    const ids = tf.zeros([1, 4], 'int32') as tf.Tensor2D;
    expect(() => k.attention(four, four, four, { prefixIds: ids })).toThrow('give segmentIds too');
    expect(() => k.rmsNorm(zeros(2, 3), zeros(4), 1e-5)).toThrow('rmsNorm: weight');
    expect(() => k.linear(zeros(2, 3), zeros(4, 5))).toThrow('linear: weight');
    expect(() => k.swiGlu(zeros(2, 3), zeros(2, 4))).toThrow('swiGlu: up');
    expect(() => k.linearCrossEntropy(zeros(2, 3), zeros(4, 3), zeros(2))).toThrow('int32');
    const targets = tf.zeros([2], 'int32') as tf.Tensor1D;
    expect(() => k.linearCrossEntropy(zeros(2, 3), zeros(4, 3), targets, targets)).toThrow('toFloat()');
    expect(() => tf.matMul(zeros<tf.Tensor2D>(2, 3), zeros<tf.Tensor2D>(2, 3))).toThrow();
  });

  const ids = tf.zeros([2], 'int32');
  const [row, four] = [zeros(2, 3), zeros(1, 4, 2, 8)];
  const cache = { keys: tf.variable(zeros(9, 2, 8)), values: tf.variable(zeros(9, 2, 8)), length: 0 };
  const feed = { norm_E: zeros(3), gate_FE: zeros(4, 3), up_FE: zeros(4, 3), down_EF: zeros(3, 4) };
  const attend = {
    norm_E: zeros(3),
    q_OE: zeros(4, 3),
    k_OE: zeros(4, 3),
    v_OE: zeros(4, 3),
    o_EO: zeros(3, 4),
  };
  const layer = { epsilon: 1e-5, rotary: { cos: zeros(2, 1), sin: zeros(2, 1) }, headSize: 2 };
  const wrongRanks: [string, () => unknown][] = [
    ['attention: q', () => k.attention(row, four, four)],
    ['attention: k', () => k.attention(four, row, four)],
    ['attention: segmentIds', () => k.attention(four, four, four, { segmentIds: ids })],
    ['cachedAttention: q', () => k.cachedAttention(row, four, four, [cache])],
    ['rmsNorm: weight', () => k.rmsNorm(row, row, 1e-5)],
    ['rotaryEmbedding: x', () => k.rotaryEmbedding(row, row, row)],
    ['rotaryEmbedding: cos', () => k.rotaryEmbedding(four, ids, ids)],
    ['linear: weight', () => k.linear(row, four)],
    ['embedding: table', () => k.embedding(ids, ids)],
    ['linearCrossEntropy: x', () => k.linearCrossEntropy(four, row, ids)],
    ['linearCrossEntropy: weight', () => k.linearCrossEntropy(row, four, ids)],
    ['linearCrossEntropy: targets', () => k.linearCrossEntropy(row, row, row)],
    ['linearCrossEntropy: mask', () => k.linearCrossEntropy(row, row, ids, row)],
    ['scoreTokens: x', () => k.scoreTokens(ids, row, ids)],
    ['residualFeedForward: gate', () => k.residualFeedForward(row, { ...feed, gate_FE: four }, 1e-5)],
    ['residualAttention: x', () => k.residualAttention(row, attend, layer)],
  ];
  it.each(wrongRanks)('%s of another rank is named', (name, call) => {
    for (const backend of ['native', 'cpu'] as const) {
      tf.setBackend(backend);
      expect(call).toThrow(`${name} has the wrong shape, got [`);
    }
    tf.setBackend('native');
  });

  it('segment ids of another type are named', () => {
    const [segmentIds, float] = [tf.zeros([1, 4], 'int32'), zeros(1, 4)];
    expect(() => k.attention(four, four, four, { segmentIds: float })).toThrow('segmentIds.toInt()');
    expect(() => k.attention(four, four, four, { segmentIds, prefixIds: float })).toThrow(
      'prefixIds.toInt()',
    );
  });

  it.each([-1, 5])('id %i outside the vocabulary is named', (id) => {
    const ids = tf.tensor1d([0, id], 'int32');
    expect(() => k.embedding(ids, zeros(5, 3))).toThrow(`got ${id} at position 1, expected 0 to 4`);
    expect(() => k.linearCrossEntropy(zeros(2, 3), zeros(5, 3), ids)).toThrow(`got ${id} at position 1`);
  });
});
