/**
 * Every kernel of the backends beside `native`, WGSL or composed of TensorFlow's ops, forward and gradient, against its
 * reference, over shapes that fill no tile evenly.
 */
import { compileQuickly, expectClose } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  attention,
  cachedAttention,
  embedding,
  globalNorm,
  linearCrossEntropy,
  linearCrossEntropyWithZLoss,
  muon,
  rmsNorm,
  rotaryEmbedding,
  scoreTokens,
  setBackend,
  setPrecision,
  swiGlu,
} from './index.ts';
import { loadNativeAddon } from './native-addon.ts';
import { registerNativeBackend } from './native-backend.ts';
import * as reference from './reference.ts';
import { evaluate, type Input, integers, random, tensorOf, whyMissing } from './testing.ts';

const as4D = (x: tf.Tensor) => x as tf.Tensor4D;
const as2D = (x: tf.Tensor) => x as tf.Tensor2D;
const as1D = (x: tf.Tensor) => x as tf.Tensor1D;

let device: Device = 'webgpu';
compileQuickly();

async function expectSame(
  fast: (...inputs: tf.Tensor[]) => tf.Tensor,
  slow: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: Input[],
  relative = 3e-6,
  isRecorded = false,
): Promise<void> {
  const got = await evaluate(device, fast, inputs, isRecorded);
  const want = await evaluate('cpu', slow, inputs, isRecorded);
  for (const [i, values] of want.entries()) expectClose(got[i], values, { relative, absolute: 1e-6 });
}

type Device = 'webgpu' | 'xla' | 'tensorflow';

const devices: [Device, string | undefined][] = [
  ['webgpu', await whyMissing('webgpu')],
  ['xla', await whyMissing('xla')],
  ['tensorflow', await whyMissing('tensorflow')],
];

describe.each(devices)('on %s', (name, missing) => {
  beforeEach((context) => {
    if (missing) context.skip(missing);
    device = name;
  });
  /** The cases at some positions on `xla`, which compiles each for tenths of a second; the others have kernels that differ by size. */
  const some = <Case>(cases: Case[], ...onXla: number[]) =>
    name === 'xla' ? onXla.map((i) => cases[i]) : cases;

  it.each(
    some(
      [
        [1, 1, 1],
        [13, 33, 129],
        [4, 132, 72],
        [97, 70, 67],
        [132, 36, 68],
        [9, 4100, 8],
      ],
      1,
    ),
  )('matrix products [%i,%i]·[%i], all transposes', async (M, K, N) => {
    // A sum in several parts differs in how it is stored, not in how operands are read: one kernel to compile, not four.
    const transposes = K > 2048 ? [false] : [false, true];
    for (const transposeA of transposes) {
      for (const transposeB of transposes) {
        const product = (a: tf.Tensor, b: tf.Tensor) => tf.matMul(a, b, transposeA, transposeB);
        const a = random(transposeA ? [K, M] : [M, K], 1);
        const b = random(transposeB ? [N, K] : [K, N], 2);
        await expectSame(product, product, [a, b]);
      }
    }
  });

  it.skipIf(name === 'xla').each([
    [1410, 8, 1420],
    [1409, 6, 1421],
  ])('matrix products large enough for the large tile', async (M, K, N) => {
    const product = (a: tf.Tensor, b: tf.Tensor) => tf.matMul(a, b, false, true);
    const inputs = [random([M, K], 1), random([N, K], 2)].map(tensorOf);
    await tf.setBackend(device);
    const got = await product(inputs[0], inputs[1]).data();
    registerNativeBackend();
    await tf.setBackend('native');
    const want = product(tensorOf(random([M, K], 1)), tensorOf(random([N, K], 2)));
    expectClose(got as Float32Array, want.dataSync(), { relative: 3e-6 });
    tf.dispose([...inputs, want]);
  });

  it('batches matrix products, with one operand shared or broadcast', async () => {
    const product = (a: tf.Tensor, b: tf.Tensor) => tf.matMul(a, b);
    await expectSame(product, product, [random([3, 2, 5, 7], 1), random([3, 2, 7, 4], 2)]);
    for (const [shapeA, shapeB] of [
      [
        [3, 5, 7],
        [1, 7, 4],
      ],
      [
        [1, 5, 7],
        [3, 7, 4],
      ],
    ]) {
      const values = [];
      for (const backend of [device, 'cpu']) {
        await tf.setBackend(backend);
        const out = tf.tidy(() => tf.matMul(tensorOf(random(shapeA, 1)), tensorOf(random(shapeB, 2))));
        values.push(await out.data());
        out.dispose();
      }
      expectClose(values[0], values[1], { relative: 3e-6 });
    }
  });

  const attentionCases: [string, number[], { window?: number; segments?: number; shared?: boolean }][] = [
    ['one query head a key head', [2, 17, 17, 2, 2, 8], {}],
    ['grouped queries', [1, 130, 130, 4, 2, 16], {}],
    ['one key head for all', [2, 66, 66, 4, 1, 32], {}],
    ['a head wider than a tile, of an odd size', [1, 70, 70, 2, 1, 70], {}],
    ['segments', [2, 130, 130, 2, 1, 8], { segments: 40 }],
    ['segments and a window', [1, 200, 200, 2, 1, 8], { segments: 110, window: 33 }],
    ['a prefix that others share', [2, 140, 140, 2, 1, 8], { segments: 20, shared: true }],
    ['a shared prefix and a window', [1, 140, 140, 2, 1, 8], { segments: 15, shared: true, window: 60 }],
    ['a window of one tile', [1, 200, 200, 1, 1, 8], { window: 64 }],
    ['a cache, few queries', [2, 1, 40, 4, 2, 16], {}],
    ['a cache and a window', [1, 2, 140, 4, 2, 16], { window: 9 }],
    ['a cache, many queries', [1, 70, 200, 2, 1, 8], {}],
    ['a single token', [1, 1, 1, 2, 1, 16], {}],
  ];
  // Composed kernels compute blocks of queries, WGSL only tiles, which the cases above also have several of.
  const blockCases: typeof attentionCases = [
    ['several blocks', [1, 530, 530, 1, 1, 4], {}],
    ['several blocks of segments', [1, 300, 300, 2, 1, 4], { segments: 35, shared: true }],
  ];
  const cases = name === 'tensorflow' ? [...attentionCases, ...blockCases] : some(attentionCases, 1, 7, 10);
  it.each(cases)('attention with %s', async (_, [B, T, S, H, G, D], { window, segments, shared }) => {
    const segmentIds = segments && integers([B, T], (i) => Math.floor((i % T) / segments));
    // Of every three segments the first is the others' prefix.
    const prefixIds =
      shared && segmentIds && integers([B, T], (i) => Math.floor(segmentIds.values[i] / 3) * 3);
    const tensor2D = (input: Input | undefined | false | 0) => (input ? as2D(tensorOf(input)) : undefined);
    const run = (op: typeof attention) => (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) =>
      op(as4D(q), as4D(k), as4D(v), {
        window,
        segmentIds: tensor2D(segmentIds),
        prefixIds: tensor2D(prefixIds),
      });
    const inputs = [random([B, T, H, D], 1), random([B, S, G, D], 2), random([B, S, G, D], 3)];
    // Without a tape, WGSL's kernels only leave out the sums: those for heads of up to 64 channels, and few queries.
    const isRecorded = T > 1 && (D % 4 !== 0 || D > 64 || segments !== undefined);
    await expectSame(run(attention), run(reference.attentionReference), inputs, 3e-6, isRecorded);
  });

  it.skipIf(name === 'xla')('attention with scores far apart', async () => {
    const run = (op: typeof attention) => (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) =>
      op(as4D(q), as4D(k), as4D(v), { scale: 40 });
    const inputs = [1, 2, 3].map((seed) => random([1, 70, 1, 16], seed));
    await expectSame(run(attention), run(reference.attentionReference), inputs, 1e-4);
  });

  it('cachedAttention writes into its caches and reads from them', async () => {
    const [T, H, G, D, capacity] = [3, 4, 2, 8, 12];
    const lengths = [5, 0];
    const results = [];
    for (const backend of [device, 'cpu']) {
      await tf.setBackend(backend);
      const caches = lengths.map((length, b) => ({
        keys: tf.variable(tensorOf(random([capacity, G, D], 10 + b)) as tf.Tensor3D),
        values: tf.variable(tensorOf(random([capacity, G, D], 20 + b)) as tf.Tensor3D),
        length,
      }));
      const [q, k, v] = [H, G, G].map((heads, i) => as4D(tensorOf(random([2, T, heads, D], i + 1))));
      const first = cachedAttention(q, k, v, caches);
      const second = cachedAttention(
        q,
        k,
        v,
        caches.map((cache) => ({ ...cache, length: cache.length + T })),
        { window: 4 },
      );
      const read = [first, second, ...caches.flatMap(({ keys, values }) => [keys, values])];
      results.push(await Promise.all(read.map((tensor) => tensor.data())));
      tf.dispose([q, k, v, ...read]);
    }
    for (const [i, want] of results[1].entries()) expectClose(results[0][i], want, { relative: 3e-6 });
  });

  it.each(some([[[3, 5, 70]], [[1, 1]], [[200, 33]], [[2, 600]]], 0))('rmsNorm of %j', async (shape) => {
    const run = (op: typeof rmsNorm) => (x: tf.Tensor, w: tf.Tensor) => op(x, as1D(w), 1e-5);
    const inputs = [random(shape, 1), random(shape.slice(-1), 2)];
    await expectSame(run(rmsNorm), run(reference.rmsNormReference), inputs);
  });

  const rotaryCases: [number[], number][] = [
    [[2, 5, 3, 8], 2],
    [[2, 5, 3, 8], 3],
    [[1, 70, 2, 6], 2],
  ];
  it.each(some(rotaryCases, 1))('rotaryEmbedding of %j with tables of rank %i', async (shape, rank) => {
    const angles = random([...shape.slice(3 - rank, 2), shape[3] / 2], 3);
    // The host's tables, as in the model: a GPU's cosine has four digits.
    const table = (f: (x: number) => number) =>
      tensorOf({ ...angles, values: Float32Array.from(angles.values, f) });
    const run = (op: typeof rotaryEmbedding) => (x: tf.Tensor) =>
      op(as4D(x), table(Math.cos), table(Math.sin));
    await expectSame(run(rotaryEmbedding), run(reference.rotaryEmbeddingReference), [random(shape, 1)]);
  });

  it('swiGlu, also far from zero', async () => {
    const gate = random([7, 501], 1);
    gate.values.set([-200, -90, -20, 20, 90, 200]);
    await expectSame(swiGlu, reference.swiGluReference, [gate, random([7, 501], 2)]);
  });

  it.each(some([true, false], 1))(
    'embedding sums the gradients of repeated ids, known to the host: %s',
    async (known) => {
      const ids = integers([3, 40], (i) => (i * i) % 23);
      // A sum computes the ids on the device.
      const onDevice = (x: tf.Tensor) =>
        known
          ? x
          : tf
              .add(x, tf.zeros([3000, 1, 1], 'int32'))
              .slice([0], [1])
              .reshape([3, 40]);
      const run = (op: typeof embedding, place: (x: tf.Tensor) => tf.Tensor) => (table: tf.Tensor) =>
        op(place(tensorOf(ids)), as2D(table));
      await expectSame(
        run(embedding, onDevice),
        run(reference.embeddingReference, (x) => x),
        [random([31, 17], 1)],
      );
    },
  );

  const lossCases: [number, number, number, boolean][] = [
    [5, 11, 6, false],
    [300, 150, 33, true],
    [97, 259, 64, true],
  ];
  it.each(some(lossCases, 2))(
    'linearCrossEntropy of %i tokens, %i words, %i channels, masked: %s',
    async (N, V, C, masked) => {
      const targets = integers([N], (i) => (i * 7) % V);
      const mask: Input = { values: Float32Array.from({ length: N }, (_, i) => (i % 3 ? 1 : 0)), shape: [N] };
      const run = (op: typeof linearCrossEntropy) => (x: tf.Tensor, w: tf.Tensor) =>
        op(as2D(x), as2D(w), as1D(tensorOf(targets)), masked ? as1D(tensorOf(mask)) : undefined);
      const inputs = [random([N, C], 1), random([V, C], 2)];
      await expectSame(run(linearCrossEntropy), run(reference.linearCrossEntropyReference), inputs);
      const penalized = (isReference: boolean) => (x: tf.Tensor, w: tf.Tensor) => {
        const [weights, ids] = [masked ? as1D(tensorOf(mask)) : undefined, as1D(tensorOf(targets))];
        return isReference
          ? reference.zLossReference(as2D(x), as2D(w), ids, weights, 0.1).sum
          : linearCrossEntropyWithZLoss(as2D(x), as2D(w), ids, weights, { zLoss: 0.1 }).sum;
      };
      await expectSame(penalized(false), penalized(true), inputs);
      const scores = [];
      for (const [backend, op] of [
        [device, scoreTokens],
        ['cpu', reference.scoreTokensReference],
      ] as const) {
        await tf.setBackend(backend);
        const [x, w, t] = [...inputs, targets].map(tensorOf);
        const found = op(as2D(x), as2D(w), as1D(t));
        scores.push([await found.logProbabilities.data(), await found.greedyIds.data()]);
        tf.dispose([x, w, t, found.logProbabilities, found.greedyIds]);
      }
      expectClose(scores[0][0], scores[1][0], { relative: 3e-6 });
      expect(scores[0][1]).toEqual(scores[1][1]);
    },
  );

  // Elsewhere chunks have a test of their own: so large a vocabulary takes SwiftShader minutes.
  it.skipIf(name !== 'tensorflow')(
    'linearCrossEntropy of a vocabulary whose logits take several chunks',
    async () => {
      const [N, V, C] = [300, 65_600, 4];
      const targets = integers([N], (i) => (i * 218) % V);
      const run = (x: tf.Tensor, w: tf.Tensor) =>
        linearCrossEntropy(as2D(x), as2D(w), as1D(tensorOf(targets)));
      const inputs = [random([N, C], 1), random([V, C], 2)];
      const got = await evaluate(name, run, inputs);
      await setBackend('native');
      const want = await evaluate('native', run, inputs);
      for (const [i, values] of want.entries()) expectClose(got[i], values, { relative: 1e-5 });
    },
  );

  it.each([
    [7, 30, 0.3],
    [30, 7, 0.3],
    [7, 30, 0],
  ])('muon of %i × %i is that of native, with a scale of %d on the device', async (M, N, scale) => {
    const results: Float32Array[][] = [];
    for (const backend of [device, 'native'] as const) {
      await setBackend(backend);
      const [parameter, momentumBuffer] = [1, 2].map((seed) =>
        tf.tidy(() => tf.variable(tensorOf(random([M, N], seed)))),
      );
      const rates = { learningRate: 0.1, momentum: 0.95, weightDecay: 0.1 };
      for (let step = 1; step <= 3; step++) {
        const gradient = tensorOf(random([M, N], step + 2));
        // A step that is skipped may have gradients that are not finite.
        const given = scale === 0 && device === backend ? tf.div(gradient, 0) : gradient;
        const gradientScale = backend === 'native' || device === 'tensorflow' ? scale : tf.tensor1d([scale]);
        if (scale > 0 || backend === device)
          muon({ parameter, gradient: given, momentumBuffer, ...rates, gradientScale });
        tf.dispose([gradient, given, ...(typeof gradientScale === 'number' ? [] : [gradientScale])]);
      }
      results.push((await Promise.all([parameter.data(), momentumBuffer.data()])) as Float32Array[]);
      tf.dispose([parameter, momentumBuffer]);
    }
    if (scale === 0 && device === 'tensorflow') return;
    for (const i of [0, 1]) expectClose(results[0][i], results[1][i], { relative: 1e-4, absolute: 2e-5 });
  });

  it('globalNorm is the norm over all tensors', async () => {
    await tf.setBackend(device);
    const tensors = [tf.fill([40_000], 0.5), tf.tensor1d([3, -4])];
    expect(await globalNorm(tensors)).toBeCloseTo(Math.sqrt(40_000 * 0.25 + 25), 3);
    expect(await globalNorm([tf.tensor1d([Number.NaN, 1])])).toBeNaN();
    tf.dispose(tensors);
  });

  it('numbers that are not finite pass through', async () => {
    await tf.setBackend(device);
    const bad = tf.tensor2d([[1, Number.NaN]]);
    const first = async (x: tf.Tensor) => (await x.data())[0];
    expect(await first(tf.matMul(bad, tf.ones([2, 3])))).toBeNaN();
    expect(await first(tf.matMul(tf.ones([9, 2]), tf.fill([2, 3], Number.POSITIVE_INFINITY)))).toBe(
      Number.POSITIVE_INFINITY,
    );
    const q = tf.fill([1, 9, 1, 4], Number.NaN) as tf.Tensor4D;
    expect(await first(attention(q, tf.ones([1, 9, 1, 4]), tf.ones([1, 9, 1, 4])))).toBeNaN();
    const targets = tf.tensor1d([0], 'int32');
    expect(await first(linearCrossEntropy(bad, tf.ones([3, 2]), targets))).toBeNaN();
  });

  it.skipIf(name === 'tensorflow')(
    'bfloat16 products equal those of native up to rounding of the sums',
    async () => {
      loadNativeAddon();
      const values = [];
      for (const backend of [name, 'native'] as const) {
        await setBackend(backend);
        setPrecision('bfloat16');
        const out = tf.matMul(tensorOf(random([50, 301], 1)), tensorOf(random([301, 70], 2)));
        values.push(await out.data());
        setPrecision('float32');
      }
      expectClose(values[0], values[1], { relative: 1e-6 });
    },
  );
});
