import { adamW, globalNorm, setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { describe, expect, test } from 'vitest';
import { loadLlama } from './index.ts';
import { backends, devices, distance, expected, fixture, tokens } from './testing.ts';

/** A step takes 2 seconds in software WebGPU. */
const DEVICE_STEPS = 8;
const onDevices = await devices();

describe.each([...backends, 'cpu' as const, ...onDevices])('training on %s', (backend) => {
  const numSteps = onDevices.some((name) => name === backend) ? DEVICE_STEPS : expected.losses.length;
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
