import { expectClose } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { adamW, globalNorm, setBackend } from './index.ts';

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
