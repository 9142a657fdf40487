import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TinyBatch, tinyLoss, tinyOptions, tinyParameters } from '../fixtures/tiny-run.mjs';
import * as trainer from './index.ts';
import { LossScale } from './loss-scale.ts';
import type { Parameters, StepMetrics } from './types.ts';

const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;

describe('LossScale', () => {
  it('halves at each overflow and doubles after 2000 steps without one', () => {
    const scale = new LossScale();
    const first = scale.value;
    expect([scale.update(3, infinity), scale.update(3, nan), scale.value]).toEqual([true, true, first / 4]);
    for (let step = 1; step < 2000; step++) expect(scale.update(3, 1)).toBe(false);
    expect(scale.value).toBe(first / 4);
    scale.update(3, 1);
    expect(scale.value).toBe(first / 2);
    for (let step = 1; step < 2000; step++) scale.update(3, 1);
    scale.update(3, infinity);
    for (let step = 1; step < 2000; step++) scale.update(3, 1);
    expect(scale.value).toBe(first / 4);
  });

  it('leaves losses that are not finite to the guard', () => {
    const scale = new LossScale();
    const first = scale.value;
    expect(scale.update(nan, nan)).toBe(false);
    expect(scale.value).toBe(first);
    let overflows = 0;
    while (scale.update(3, infinity)) overflows += 1;
    expect(overflows).toBe(Math.log2(first) + 24);
  });

  it('continues from its state', () => {
    const [a, b] = [new LossScale(), new LossScale()];
    a.update(3, infinity);
    for (let step = 1; step < 2000; step++) a.update(3, 1);
    b.restore(JSON.parse(JSON.stringify(a.state())));
    b.update(3, 1);
    expect(b.value).toBe(2 * a.value);
  });
});

const folder = mkdtempSync(join(tmpdir(), 'meap-loss-scale-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeAll(async () => {
  await setBackend('native');
});

async function run(name: string, overrides: object, parameters = tinyParameters() as Parameters) {
  const steps: StepMetrics[] = [];
  const { checkpoint } = await trainer.train({
    ...tinyOptions(trainer, parameters, join(folder, name), overrides),
    onEvent: (event: trainer.TrainEvent) => {
      if (event.type === 'step') steps.push(event);
    },
  });
  tf.dispose([...parameters.values()]);
  const read = (file: string) => readFileSync(join(checkpoint!, file));
  return {
    steps,
    weights: read('weights.json').toString(),
    state: JSON.parse(read('trainer/state.json').toString()),
  };
}

describe('train with lossScaling', () => {
  it('changes no bit where nothing overflows', async () => {
    const plain = await run('plain', {});
    const scaled = await run('scaled', { lossScaling: true });
    expect(scaled.weights).toBe(plain.weights);
    const seen = ({ loss, gradNorm }: StepMetrics) => [loss, gradNorm];
    expect(scaled.steps.map(seen)).toEqual(plain.steps.map(seen));
    expect([plain.state.lossScale, scaled.state.lossScale]).toEqual([undefined, { scale: 1024, steps: 12 }]);
  });

  /** A loss so steep that its scaled gradient overflows at first. */
  function steep(parameters: Parameters) {
    const plain = tinyLoss(parameters);
    return (batch: TinyBatch) => {
      const { sum, ...counts } = plain(batch);
      return { ...counts, sum: tf.mul(sum, 1e17) as tf.Scalar };
    };
  }

  it('leaves out the steps that overflow, without an anomaly, until the scale fits, and resumes so', async () => {
    const options = (parameters: Parameters) => ({
      lossScaling: true,
      loss: steep(parameters),
      validation: undefined,
    });
    const parameters = tinyParameters();
    const whole = await run('whole', options(parameters), parameters);
    const skipped = whole.steps.filter((step) => step.skipped);
    expect(skipped.length).toBeGreaterThan(0);
    expect(whole.steps.slice(0, skipped.length)).toEqual(skipped);
    expect(skipped.map(({ lossScale }) => lossScale)).toEqual(skipped.map((_, i) => 1024 / 2 ** i));
    expect(skipped.every(({ gradNorm, anomaly }) => gradNorm === null && !anomaly)).toBe(true);
    expect(whole.state.optimizerStep).toBe(12 - skipped.length);

    // Stopped after the first overflow, so that the scale comes from the checkpoint.
    for (const stopAfter of [1, Number.POSITIVE_INFINITY]) {
      const controller = new AbortController();
      const parameters = tinyParameters();
      await trainer.train({
        ...tinyOptions(trainer, parameters, join(folder, 'parts'), options(parameters)),
        signal: controller.signal,
        onEvent: (event: trainer.TrainEvent) => {
          if (event.type === 'step' && event.step === stopAfter) controller.abort();
        },
      });
      tf.dispose([...parameters.values()]);
    }
    const parts = readFileSync(join(folder, 'parts/checkpoints/step-00000012/weights.json'), 'utf8');
    expect(parts).toBe(whole.weights);
  });
});
