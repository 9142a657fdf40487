import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { type TinyBatch, tinyBatch, tinyLoss, tinyParameters, tinySource } from '../fixtures/tiny-run.mjs';
import { accumulateGradients, clipping } from './gradients.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

function sourceOf(batches: TinyBatch[]) {
  let index = 0;
  return () => batches[index++];
}

describe('accumulateGradients', () => {
  it('makes micro-batches of unequal counts equal to one large batch', async () => {
    const parameters = tinyParameters();
    const loss = tinyLoss(parameters);
    const lengths = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(lengths, fc.nat(1000), async (lengths, seed) => {
        const parts = lengths.map((length, i) => tinyBatch(seed + i, length));
        const whole = {
          inputs: parts.flatMap((part) => part.inputs),
          targets: parts.flatMap((part) => part.targets),
          weights: parts.flatMap((part) => part.weights),
        };
        const run = (batches: TinyBatch[]) =>
          accumulateGradients({
            parameters,
            loss,
            batches: sourceOf(batches),
            step: 0,
            microBatches: batches.length,
          });
        const [split, joined] = [(await run(parts))!, (await run([whole]))!];
        expect(split.count).toBe(joined.count);
        expect(split.tokens).toBe(joined.tokens);
        expect(split.loss).toBeCloseTo(joined.loss, 4);
        for (const [name, gradient] of joined.gradients) {
          const other = split.gradients.get(name)!.dataSync();
          gradient.dataSync().forEach((x, i) => {
            expect(Math.abs(x - other[i])).toBeLessThan(1e-5 + 1e-5 * Math.abs(x));
          });
        }
        tf.dispose([...split.gradients.values(), ...joined.gradients.values()]);
      }),
      { numRuns: 20 },
    );
    tf.dispose([...parameters.values()]);
  });

  it('tells loss and source where they are', async () => {
    const parameters = tinyParameters();
    const loss = tinyLoss(parameters);
    const seen: unknown[] = [];
    const sums = await accumulateGradients<TinyBatch>({
      parameters,
      loss: (batch, position) => {
        seen.push(position);
        return loss(batch);
      },
      batches: (position) => {
        seen.push(position);
        return tinyBatch(position.microBatch);
      },
      step: 7,
      microBatches: 2,
    });
    const [a, b] = [0, 1].map((microBatch) => ({ step: 7, microBatch }));
    expect(seen).toEqual([a, a, b, b]);
    tf.dispose([...sums!.gradients.values()]);
    tf.dispose([...parameters.values()]);
  });

  it('keeps nothing when aborted between two micro-batches, or when the loss throws', async () => {
    const parameters = tinyParameters();
    const loss = tinyLoss(parameters);
    const before = tf.memory().numTensors;
    const controller = new AbortController();
    const options = { parameters, batches: tinySource(3), step: 0, microBatches: 3 };
    const aborting = (batch: TinyBatch, { microBatch }: { microBatch: number }) => {
      if (microBatch === 1) controller.abort();
      return loss(batch);
    };
    expect(
      await accumulateGradients({ ...options, loss: aborting, signal: controller.signal }),
    ).toBeUndefined();
    expect(tf.memory().numTensors).toBe(before);
    const throwing = (batch: TinyBatch, { microBatch }: { microBatch: number }) => {
      if (microBatch === 1) throw new Error('bad batch');
      return loss(batch);
    };
    await expect(accumulateGradients({ ...options, loss: throwing })).rejects.toThrow('bad batch');
    expect(tf.memory().numTensors).toBe(before);
    const nothing = (batch: TinyBatch) => ({ ...loss(batch), count: 0 });
    await expect(accumulateGradients({ ...options, loss: nothing })).rejects.toThrow(
      'no target counted in step 1',
    );
    expect(tf.memory().numTensors).toBe(before);
    tf.dispose([...parameters.values()]);
  });
});

describe('clipping', () => {
  const sums = (values: number[], count: number) => ({
    squaredNorm: values.reduce((sum, x) => sum + x * x, 0),
    count,
  });

  it('scales a mean gradient of norm 5 down to the limit and leaves a small one alone', () => {
    const large = clipping(sums([60, 80], 20), 1);
    expect(large.gradNorm).toBeCloseTo(5, 6);
    expect(large.gradientScale * 100).toBeCloseTo(1, 5);
    const small = clipping(sums([0.06, 0.08], 20), 1);
    expect(small.gradientScale).toBe(1 / 20);
    expect(clipping(sums([60, 80], 20), Number.POSITIVE_INFINITY).gradientScale).toBe(1 / 20);
  });
});
