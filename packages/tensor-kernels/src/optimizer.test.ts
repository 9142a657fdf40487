import { expectClose } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { adamW, globalNorm, muon, setBackend, setPrecision } from './index.ts';
import { random, tensorOf } from './testing.ts';

/** Thirty steps of changing gradients; returns the parameter and both moments. */
async function run(backend: 'native' | 'cpu'): Promise<Float32Array[]> {
  await setBackend(backend);
  const values = tf.randomNormal([37, 41], 0, 1, 'float32', 1);
  const [parameter, firstMoment, secondMoment] = [values, tf.zerosLike(values), tf.zerosLike(values)].map(
    (x) => tf.variable(x),
  );
  const before = tf.memory().numTensors;
  for (let step = 1; step <= 30; step++) {
    const gradient = tf.randomNormal([37, 41], 0, step, 'float32', step + 1);
    adamW({
      parameter,
      gradient,
      firstMoment,
      secondMoment,
      learningRate: 0.01 * step,
      beta1: 0.9,
      beta2: 0.95,
      epsilon: 1e-8,
      weightDecay: 0.05,
      step,
      gradientScale: 0.3,
    });
    gradient.dispose();
  }
  expect(tf.memory().numTensors).toBe(before);
  return [parameter, firstMoment, secondMoment].map((x) => x.dataSync() as Float32Array);
}

describe('adamW', () => {
  it('updates parameter and moments on native as on plain TensorFlow.js', async () => {
    const [native, plain] = [await run('native'), await run('cpu')];
    for (const i of native.keys()) expectClose(native[i], plain[i], { relative: 2e-6 });
  });

  it('follows the published update for one step', async () => {
    await setBackend('native');
    const [parameter, firstMoment, secondMoment] = [2, 0, 0].map((x) => tf.variable(tf.tensor1d([x])));
    const rates = { learningRate: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 0, weightDecay: 0.5 };
    const gradient = tf.tensor1d([3]);
    adamW({ parameter, gradient, firstMoment, secondMoment, ...rates, step: 1, gradientScale: 1 });
    // Bias correction makes the first step the gradient's sign: 2 · (1 − 0.1 · 0.5) − 0.1.
    expectClose(parameter.dataSync(), [1.8], { relative: 1e-6 });
    expectClose(firstMoment.dataSync(), [0.3], { relative: 1e-6 });
    expectClose(secondMoment.dataSync(), [0.09], { relative: 1e-6 });
  });
});

describe('muon', () => {
  const rates = { learningRate: 0.1, momentum: 0.95, weightDecay: 0.1, gradientScale: 0.3 };

  /** Three steps of changing gradients; returns the parameter and the momentum buffer. */
  async function steps(backend: 'native' | 'wasm', shape: number[]): Promise<Float32Array[]> {
    await setBackend(backend);
    const [parameter, momentumBuffer] = [random(shape, 1), random(shape, 2)].map((x) =>
      tf.tidy(() => tf.variable(tensorOf(x))),
    );
    const before = tf.memory().numTensors;
    for (let step = 1; step <= 3; step++) {
      const gradient = tensorOf(random(shape, step + 2));
      muon({ parameter, gradient, momentumBuffer, ...rates, learningRate: 0.1 / step });
      gradient.dispose();
    }
    expect(tf.memory().numTensors).toBe(before);
    return [parameter, momentumBuffer].map((x) => x.dataSync() as Float32Array);
  }

  // The last has two strips of its symmetric products.
  it.each([
    [1, 1],
    [7, 30],
    [30, 7],
    [200, 196],
  ])('updates a matrix of %i × %i on native as on plain TensorFlow.js', async (...shape) => {
    const [native, plain] = [await steps('native', shape), await steps('wasm', shape)];
    for (const i of native.keys()) expectClose(native[i], plain[i], { relative: 1e-4, absolute: 2e-5 });
  });

  it('has singular values near 1 times 0.2 · √max(M, N), whatever the size of the gradient', async () => {
    await setBackend('native');
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 40 }),
        fc.integer(),
        (M, N, seed) => {
          tf.tidy(() => {
            const [parameter, momentumBuffer] = [1, 2].map(() => tf.variable(tf.zeros([M, N])));
            const gradient = tf.mul(tensorOf(random([M, N], seed)), 10 ** (Math.abs(seed) % 12));
            muon({ parameter, gradient, momentumBuffer, ...rates, learningRate: 1, weightDecay: 0 });
            const update = tf.div(parameter, -0.2 * Math.sqrt(Math.max(M, N)));
            const gram = tf.matMul(update, update, M > N, M <= N);
            // Σσ² and Σσ⁴ of singular values that the iteration brings to 0.68 to 1.14, but the smallest of a square.
            const [squares, fourths] = [tf.sum(tf.square(update)), tf.sum(tf.square(gram))].map(
              (x) => x.dataSync()[0],
            );
            expect(fourths / squares).toBeLessThan(1.35);
            if (M !== N) expect(squares / Math.min(M, N)).toBeGreaterThan(0.3);
            // It descends.
            expect(tf.sum(tf.mul(parameter, gradient)).dataSync()[0]).toBeLessThan(0);
            tf.dispose([parameter, momentumBuffer]);
          });
        },
      ),
      { numRuns: 40 },
    );
  });

  it('multiplies in bfloat16 where that is the precision', async () => {
    const [exact] = await steps('native', [30, 40]);
    setPrecision('bfloat16');
    const [rounded] = await steps('native', [30, 40]);
    setPrecision('float32');
    expect(rounded).not.toEqual(exact);
    expectClose(rounded, exact, { absolute: 0.02 });
  });

  it('refuses what is not a float32 matrix', async () => {
    await setBackend('native');
    const [parameter, momentumBuffer] = [1, 2].map(() => tf.variable(tf.ones([3])));
    const gradient = tf.ones([3]);
    expect(() => muon({ parameter, gradient, momentumBuffer, ...rates })).toThrow(
      'muon: parameter has the wrong shape, got [3], expected [*, *]',
    );
    tf.dispose([parameter, momentumBuffer, gradient]);
  });
});

describe('globalNorm', () => {
  it.each(['native', 'wasm', 'cpu'] as const)('is the norm over all tensors on %s', async (backend) => {
    await setBackend(backend);
    const tensors = [tf.fill([40_000], 0.5), tf.tensor1d([3, -4])];
    expect(await globalNorm(tensors)).toBeCloseTo(Math.sqrt(40_000 * 0.25 + 25), 3);
  });

  it('neither overflows nor loses small terms in float32', async () => {
    await setBackend('native');
    expect(await globalNorm([tf.tensor1d([1e-12, 1e18])])).toBeCloseTo(1e18, -13);
    expect(await globalNorm([tf.tensor1d([Number.NaN, 1])])).toBeNaN();
  });
});
