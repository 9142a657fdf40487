/**
 * Every native kernel, forward and gradient, against its reference on stock TensorFlow.js, for every instruction
 * set this processor has and over shapes that fill no tile evenly.
 */

import { expectClose } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { afterAll, describe, expect, it } from 'vitest';
import {
  attention,
  dropout,
  embedding,
  linear,
  linearCrossEntropy,
  linearCrossEntropyWithZLoss,
  residualAttention,
  residualFeedForward,
  rmsNorm,
  rotaryEmbedding,
  scoreTokens,
  setBackend,
  setPrecision,
  swiGlu,
} from './index.ts';
import { loadNativeAddon } from './native-addon.ts';
import * as reference from './reference.ts';
import { evaluate, type Input, integers, random, tensorOf } from './testing.ts';

const addon = loadNativeAddon();
const best = addon.instructionSet();
afterAll(() => addon.setInstructionSet(best));

const references = new Map<string, Float32Array[]>();

async function expectSame(
  fast: (...inputs: tf.Tensor[]) => tf.Tensor,
  slow: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: Input[],
  relative = 3e-6,
  variant = '',
): Promise<void> {
  await setBackend('native');
  const got = await evaluate('native', fast, inputs);
  // The reference is slow JavaScript and the same for every instruction set.
  const test = expect.getState().currentTestName?.replace(addon.instructionSet(), '');
  const key = `${test} ${variant} ${JSON.stringify(inputs.map(({ shape }) => shape))}`;
  const want = references.get(key) ?? (await evaluate('cpu', slow, inputs));
  references.set(key, want);
  for (let i = 0; i < want.length; i++) expectClose(got[i], want[i], { relative, absolute: 1e-6 });
}

const as4D = (x: tf.Tensor) => x as tf.Tensor4D;
const as2D = (x: tf.Tensor) => x as tf.Tensor2D;
const as1D = (x: tf.Tensor) => x as tf.Tensor1D;

describe.each(addon.instructionSets())('on %s', (instructionSet) => {
  const use = () => addon.setInstructionSet(instructionSet);

  it.each([
    [1, 1, 1],
    [3, 5, 7],
    [1, 513, 70],
    [4, 33, 129],
    [64, 64, 64],
    [100, 300, 70],
    [13, 1000, 33],
    [60, 257, 97],
    [50, 9, 1600],
  ])('matrix products [%i,%i]·[%i], all transposes', async (M, K, N) => {
    use();
    for (const [transposeA, transposeB] of [
      [false, false],
      [false, true],
      [true, false],
      [true, true],
    ]) {
      const product = (a: tf.Tensor, b: tf.Tensor) => tf.matMul(a, b, transposeA, transposeB);
      const a = random(transposeA ? [K, M] : [M, K], 1);
      const b = random(transposeB ? [N, K] : [K, N], 2);
      await expectSame(product, product, [a, b], 3e-6, `${transposeA} ${transposeB}`);
    }
  });

  it('batches matrix products, with one operand shared or broadcast', async () => {
    use();
    const product = (a: tf.Tensor, b: tf.Tensor) => tf.matMul(a, b);
    await expectSame(product, product, [random([3, 2, 5, 7], 1), random([3, 2, 7, 4], 2)]);
    // TensorFlow.js has no gradient for broadcast batches: values only.
    for (const [shapeA, shapeB] of [
      [
        [3, 5, 7],
        [1, 7, 4],
      ],
      [
        [2, 1, 5, 7],
        [1, 3, 7, 4],
      ],
    ]) {
      const values = [];
      for (const backend of ['native', 'cpu']) {
        await tf.setBackend(backend);
        const [a, b] = [random(shapeA, 1), random(shapeB, 2)];
        values.push(tf.tidy(() => tf.matMul(tensorOf(a), tensorOf(b)).dataSync()));
      }
      expectClose(values[0], values[1], { relative: 3e-6 });
    }
  });

  const attentionCases: [string, number[], { window?: number; segments?: number; shared?: boolean }][] = [
    ['one query head a key head', [2, 17, 17, 2, 2, 8], {}],
    ['grouped queries', [1, 130, 130, 4, 2, 64], {}],
    ['one key head for all', [2, 110, 110, 4, 1, 32], {}],
    ['an odd head size', [1, 97, 97, 2, 2, 10], {}],
    ['a head wider than a panel', [1, 100, 100, 2, 1, 72], {}],
    ['a window', [1, 210, 210, 2, 1, 16], { window: 50 }],
    ['segments', [2, 200, 200, 2, 1, 16], { segments: 70 }],
    ['segments and a window', [1, 230, 230, 2, 1, 16], { segments: 110, window: 33 }],
    ['a prefix that others share', [2, 210, 210, 2, 1, 16], { segments: 40, shared: true }],
    ['a shared prefix and a window', [1, 210, 210, 2, 1, 16], { segments: 25, shared: true, window: 60 }],
    ['a cache, few queries', [2, 1, 40, 4, 2, 16], {}],
    ['a cache and a window', [1, 2, 140, 4, 2, 16], { window: 9 }],
    ['a cache, many queries', [1, 97, 210, 2, 1, 16], {}],
    ['a single token', [1, 1, 1, 2, 1, 16], {}],
  ];
  it.each(attentionCases)(
    'attention with %s',
    async (_, [B, T, S, H, G, D], { window, segments, shared }) => {
      use();
      const segmentIds = segments && integers([B, T], (i) => Math.floor((i % T) / segments));
      // Of every three segments the first is the others' prefix.
      const prefixIds =
        shared && segmentIds && integers([B, T], (i) => Math.floor(segmentIds.values[i] / 3) * 3);
      const tensor2D = (input: Input | undefined | false | 0) => (input ? as2D(tensorOf(input)) : undefined);
      const run = (op: typeof attention) => (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) => {
        const options = { window, segmentIds: tensor2D(segmentIds), prefixIds: tensor2D(prefixIds) };
        return op(as4D(q), as4D(k), as4D(v), options);
      };
      await expectSame(run(attention), run(reference.attentionReference), [
        random([B, T, H, D], 1),
        random([B, S, G, D], 2),
        random([B, S, G, D], 3),
      ]);
    },
  );

  it('attention with scores far apart', async () => {
    use();
    const run = (op: typeof attention) => (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) =>
      op(as4D(q), as4D(k), as4D(v), { scale: 40 });
    const inputs = [1, 2, 3].map((seed) => random([1, 120, 2, 16], seed));
    await expectSame(run(attention), run(reference.attentionReference), inputs, 1e-4);
  });

  it.each([[[3, 5, 70]], [[1, 1]], [[100, 33]]])('rmsNorm of %j', async (shape) => {
    use();
    const run = (op: typeof rmsNorm) => (x: tf.Tensor, w: tf.Tensor) => op(x, as1D(w), 1e-5);
    const inputs = [random(shape, 1), random(shape.slice(-1), 2)];
    await expectSame(run(rmsNorm), run(reference.rmsNormReference), inputs);
  });

  it.each([
    [[2, 5, 3, 8], 2],
    [[2, 5, 3, 8], 3],
    [[1, 70, 2, 6], 2],
  ])('rotaryEmbedding of %j with tables of rank %i', async (shape, rank) => {
    use();
    const angles = random([...shape.slice(2 - rank + 1, 2), shape[3] / 2].slice(-rank), 3);
    const run = (op: typeof rotaryEmbedding) => (x: tf.Tensor) => {
      const angle = tensorOf(angles);
      return op(as4D(x), tf.cos(angle), tf.sin(angle));
    };
    await expectSame(run(rotaryEmbedding), run(reference.rotaryEmbeddingReference), [random(shape, 1)]);
  });

  it('swiGlu, also far from zero', async () => {
    use();
    const gate = random([7, 501], 1);
    gate.values.set([-200, -90, -20, 20, 90, 200]);
    await expectSame(swiGlu, reference.swiGluReference, [gate, random([7, 501], 2)]);
  });

  it('the exponential is within 2 ulp', async () => {
    use();
    await setBackend('native');
    // silu(x)/x = 1 / (1 + e^−x): e^−x to 2 ulp, a sum, a quotient and a product with x, of half an ulp each.
    const x = Float32Array.from({ length: 100_003 }, (_, i) => -17 - (70 * i) / 100_003);
    const y = tf.tidy(() => swiGlu(tf.tensor1d(x), tf.ones([x.length]) as tf.Tensor1D).dataSync());
    let worst = 0;
    x.forEach((value, i) => {
      const want = value / (1 + Math.exp(-value));
      worst = Math.max(worst, Math.abs(y[i] - want) / 2 ** (Math.floor(Math.log2(Math.abs(want))) - 23));
    });
    expect(worst).toBeLessThan(4);
    expect(worst).toBeGreaterThan(0.5);
  });

  it('linear folds leading axes', async () => {
    use();
    const run = (x: tf.Tensor, w: tf.Tensor) => linear(x, as2D(w));
    await expectSame(run, run, [random([2, 3, 20], 1), random([9, 20], 2)]);
  });

  it.each([false, true])('the halves of a block equal their compositions, dropout: %s', async (drops) => {
    use();
    const drop = drops ? (y: tf.Tensor) => dropout(y, 0.3, Int32Array.of(1, 2, 3, 4)) : undefined;
    const feedForward = (x: tf.Tensor, norm: tf.Tensor, ...matrices: tf.Tensor[]) => {
      const [gate_FE, up_FE, down_EF] = matrices.map(as2D);
      return residualFeedForward(x, { norm_E: as1D(norm), gate_FE, up_FE, down_EF }, 1e-5, drop);
    };
    const [x, norm] = [random([2, 37, 24], 1), random([24], 2)];
    const matrices = [
      [51, 24],
      [51, 24],
      [24, 51],
    ].map((shape, i) => random(shape, i + 3));
    await expectSame(feedForward, feedForward, [x, norm, ...matrices], 1e-5, 'feed-forward');

    const segmentIds = integers([2, 37], (i) => Math.floor((i % 37) / 11));
    let rotates = true;
    const attend = (x: tf.Tensor, norm: tf.Tensor, ...others: tf.Tensor[]) => {
      const [q_OE, k_OE, v_OE, o_EO] = others.slice(0, 4).map(as2D);
      const [q, k, v] = others.slice(4).map(as1D);
      const angles = tf.outerProduct(tf.range(0, 37) as tf.Tensor1D, tf.tensor1d([1, 0.3, 0.1]));
      return residualAttention(
        x as tf.Tensor3D,
        {
          norm_E: as1D(norm),
          q_OE,
          k_OE,
          v_OE,
          o_EO,
          ...(v ? { biases: { q, k, v } } : q && { headNorms: { q, k } }),
        },
        {
          epsilon: 1e-5,
          rotary: rotates ? { cos: tf.cos(angles), sin: tf.sin(angles) } : undefined,
          headSize: 6,
          segmentIds: as2D(tensorOf(segmentIds)),
          window: 9,
          drop,
        },
      );
    };
    const projections = [
      [24, 24],
      [12, 24],
      [12, 24],
      [24, 24],
    ].map((shape, i) => random(shape, i + 7));
    await expectSame(attend, attend, [x, norm, ...projections], 1e-5, 'attention');
    const biases = [24, 12, 12].map((size, i) => random([size], i + 11));
    await expectSame(attend, attend, [x, norm, ...projections, ...biases], 1e-5, 'attention with biases');
    const headNorms = [random([6], 14), random([6], 15)];
    rotates = drops;
    await expectSame(attend, attend, [x, norm, ...projections, ...headNorms], 1e-5, 'with head norms');
  });

  it('embedding sums the gradients of repeated ids', async () => {
    use();
    const ids = integers([3, 40], (i) => (i * i) % 23);
    const run = (op: typeof embedding) => (table: tf.Tensor) => op(tensorOf(ids), as2D(table));
    await expectSame(run(embedding), run(reference.embeddingReference), [random([31, 17], 1)]);
  });

  it.each([
    [5, 11, 6, false],
    [100, 400, 33, true],
    [97, 259, 64, true],
  ])('linearCrossEntropy of %i tokens, %i words, %i channels, masked: %s', async (N, V, C, masked) => {
    use();
    const targets = integers([N], (i) => (i * 7) % V);
    const mask: Input = { values: Float32Array.from({ length: N }, (_, i) => (i % 3 ? 1 : 0)), shape: [N] };
    const run = (op: typeof linearCrossEntropy) => (x: tf.Tensor, w: tf.Tensor) =>
      op(as2D(x), as2D(w), as1D(tensorOf(targets)), masked ? as1D(tensorOf(mask)) : undefined);
    const inputs = [random([N, C], 1), random([V, C], 2)];
    await expectSame(run(linearCrossEntropy), run(reference.linearCrossEntropyReference), inputs);
    // Sum and z-loss; only the sum has a gradient.
    const penalized = (isReference: boolean) => (x: tf.Tensor, w: tf.Tensor) => {
      const [weights, ids] = [masked ? as1D(tensorOf(mask)) : undefined, as1D(tensorOf(targets))];
      const { sum, zLoss } = isReference
        ? reference.zLossReference(as2D(x), as2D(w), ids, weights, 0.1)
        : linearCrossEntropyWithZLoss(as2D(x), as2D(w), ids, weights, { zLoss: 0.1 });
      const apart = tf.customGrad((y) => ({
        value: (y as tf.Tensor).clone(),
        gradFunc: (dy: tf.Tensor) => tf.zerosLike(dy),
      }));
      return tf.stack([sum, apart(zLoss)]);
    };
    await expectSame(penalized(false), penalized(true), inputs, 3e-6, 'z-loss');
    await tf.setBackend('native');
    tf.tidy(() => {
      const [x, w] = inputs.map(tensorOf);
      const t = as1D(tensorOf(targets));
      const [got, want] = [scoreTokens, reference.scoreTokensReference].map((op) => op(as2D(x), as2D(w), t));
      expectClose(got.logProbabilities, want.logProbabilities, { relative: 3e-6 });
      expect(got.greedyIds.dataSync()).toEqual(want.greedyIds.dataSync());
    });
  });
});

describe('numbers that are not finite', () => {
  it('pass through matrix products, attention and the loss', async () => {
    await setBackend('native');
    tf.tidy(() => {
      const bad = tf.tensor2d([[1, Number.NaN]]);
      expect(tf.matMul(bad, tf.ones([2, 3])).dataSync()[0]).toBeNaN();
      expect(tf.matMul(tf.ones([9, 2]), tf.fill([2, 3], Number.POSITIVE_INFINITY)).dataSync()[0]).toBe(
        Number.POSITIVE_INFINITY,
      );
      const q = tf.fill([1, 9, 1, 4], Number.NaN) as tf.Tensor4D;
      expect(attention(q, tf.ones([1, 9, 1, 4]), tf.ones([1, 9, 1, 4])).dataSync()[0]).toBeNaN();
      const targets = tf.tensor1d([0], 'int32');
      expect(linearCrossEntropy(bad, tf.ones([3, 2]), targets).dataSync()[0]).toBeNaN();
    });
  });
});

describe('bfloat16', () => {
  afterAll(() => setPrecision('float32'));

  it('equals the product of rounded inputs, the same on every instruction set', async () => {
    await setBackend('native');
    const [M, K, N] = [50, 301, 70];
    const [a, b] = [random([M, K], 1), random([K, N], 2)];
    const round = ({ values, shape }: Input): Input => {
      const bits = new Uint32Array(Float32Array.from(values).buffer);
      const rounded = bits.map((x) => (x + 0x7fff + ((x >>> 16) & 1)) & 0xffff0000);
      return { values: new Float32Array(rounded.buffer), shape };
    };
    const want = (await evaluate('cpu', (x, y) => tf.matMul(x, y), [round(a), round(b)]))[0];
    for (const instructionSet of addon.instructionSets()) {
      await setBackend('native');
      addon.setInstructionSet(instructionSet);
      setPrecision('bfloat16');
      const got = tf.tidy(() => tf.matMul(tensorOf(a), tensorOf(b)).dataSync());
      setPrecision('float32');
      expectClose(got, want, { relative: 1e-6 });
    }
  });
});

describe('threads', () => {
  it('do not change a bit of any result', async () => {
    const before = addon.numThreads();
    const results: Float32Array[][] = [];
    for (const threads of [1, 2, 3]) {
      addon.setNumThreads(threads);
      await setBackend('native');
      const attend = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) => attention(as4D(q), as4D(k), as4D(v));
      const targets = integers([200], (i) => i % 90);
      const lose = (x: tf.Tensor, w: tf.Tensor) =>
        linearCrossEntropy(as2D(x), as2D(w), as1D(tensorOf(targets)));
      results.push([
        ...(await evaluate('native', (a, b) => tf.matMul(a, b), [
          random([133, 217], 1),
          random([217, 91], 2),
        ])),
        ...(await evaluate(
          'native',
          attend,
          [4, 2, 2].map((heads, i) => random([1, 250, heads, 16], i + 1)),
        )),
        ...(await evaluate('native', (x, w) => rmsNorm(x, as1D(w), 1e-5), [
          random([300, 64], 1),
          random([64], 2),
        ])),
        ...(await evaluate('native', lose, [random([200, 32], 1), random([90, 32], 2)])),
        Float32Array.of(addon.sumOfSquares({ n: 50_000, x: random([50_000], 3).values as Float32Array })),
      ]);
    }
    addon.setNumThreads(before);
    const bytes = results.map((arrays) => Buffer.concat(arrays.map((x) => new Uint8Array(x.slice().buffer))));
    expect(bytes[0].length).toBeGreaterThan(100_000);
    expect(bytes[1].equals(bytes[0])).toBe(true);
    expect(bytes[2].equals(bytes[0])).toBe(true);
  });
});
