import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { inMemoryRanks } from '../fixtures/in-memory-ranks.mjs';
import { tinyBatch, tinyLoss, tinyParameters } from '../fixtures/tiny-run.mjs';
import { backward } from './backward.ts';
import { GradientExchange, partsOf, planBuckets } from './gradient-buckets.ts';
import type { Parameters } from './types.ts';

beforeAll(() => tf.setBackend('cpu'));

/** Stand-ins for parameters of given sizes. */
const shaped = (sizes: readonly number[]) =>
  new Map(sizes.map((size, i) => [`p${i}`, { size, shape: [size] }])) as unknown as Parameters;

describe('planBuckets', () => {
  it('property: every element of every parameter is owned by exactly one rank, and parts are equal', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 7 }),
        fc.integer({ min: 1, max: 60 }),
        (sizes, numRanks, bucketSize) => {
          const buckets = planBuckets(shaped(sizes), numRanks, bucketSize);
          const owners = new Map(sizes.map((size, i) => [`p${i}`, new Array<number>(size).fill(0)]));
          for (const bucket of buckets) {
            expect(bucket.size % numRanks).toBe(0);
            for (let rank = 0; rank < numRanks; rank++) {
              for (const { name, start, length, at } of partsOf(bucket, rank, numRanks)) {
                const { offset } = bucket.slots.find((slot) => slot.name === name)!;
                expect(offset + start).toBe((rank * bucket.size) / numRanks + at);
                for (let i = start; i < start + length; i++) owners.get(name)![i]++;
              }
            }
          }
          for (const counts of owners.values()) expect(new Set(counts)).toEqual(new Set([1]));
        },
      ),
    );
  });

  it('puts the last parameter first, and as many together as fit', () => {
    const buckets = planBuckets(shaped([5, 30, 4, 3]), 2, 10);
    expect(buckets.map(({ slots }) => slots.map(({ name }) => name))).toEqual([['p3', 'p2'], ['p1'], ['p0']]);
    expect(buckets.map(({ size }) => size)).toEqual([8, 30, 6]);
  });
});

describe('GradientExchange', () => {
  it('sends a bucket as soon as the backward pass is done with it', async () => {
    const { ranks } = inMemoryRanks(2);
    const log: string[] = [];
    await Promise.all(
      ranks.map(async (own) => {
        const parameters = tinyParameters() as Parameters;
        // A bucket for each of the larger parameters.
        const buckets = planBuckets(parameters, 2, 42);
        const note = (what: string) => own.rank === 0 && log.push(what);
        const recording = {
          ...own,
          allReduce: (values: Float32Array) => {
            note(`send ${values.length}`);
            return own.allReduce(values);
          },
        };
        const exchange = new GradientExchange(buckets, recording as never, { scatter: false });
        const loss = () => tinyLoss(parameters)(tinyBatch(3)).sum as tf.Scalar;
        const value = await backward(loss, parameters, async (name, gradient) => {
          note(name);
          await exchange.add(name, gradient);
        });
        const sums = await exchange.finish();
        // Both ranks have the same batch: the sum is twice the gradient.
        const { grads } = tf.variableGrads(loss, [...parameters.values()]);
        for (const [name, variable] of parameters) {
          const once = grads[variable.name].dataSync();
          expect([...sums.get(name)!.dataSync()]).toEqual(Array.from(once, (x) => 2 * x));
        }
        tf.dispose([value, grads, ...sums.values(), ...parameters.values()]);
      }),
    );
    expect(log).toEqual([
      ...['head.weight', 'send 66'],
      ...['hidden.bias', 'hidden.weight', 'send 42'],
      ...['embed.weight', 'send 66'],
    ]);
  });

  it.each([false, true])('sends zeros for missing gradients, scatter %s', async (scatter) => {
    const { ranks } = inMemoryRanks(2);
    const buckets = planBuckets(shaped([3, 4, 2]), 2, 5);
    // Twice: what the first round left in memory must not come back.
    for (const offset of [0, 10]) {
      const results = await Promise.all(
        ranks.map(async (own) => {
          const exchange = new GradientExchange(buckets, own, { scatter });
          const gradient = (values: number[]) => tf.tensor1d(values.map((x) => x + offset));
          // p1 nowhere, p0 on rank 0 alone.
          await exchange.add('p2', gradient([1, 2]));
          if (own.rank === 0) await exchange.add('p0', gradient([5, 6, 7]));
          const sums = await exchange.finish();
          const numbers = Object.fromEntries([...sums].map(([name, sum]) => [name, [...sum.dataSync()]]));
          tf.dispose([...sums.values()]);
          return numbers;
        }),
      );
      const [p0, p2] = [[5, 6, 7].map((x) => x + offset), [2, 4].map((x) => x + 2 * offset)];
      if (!scatter) expect(results).toEqual([0, 1].map(() => ({ p0, p1: [0, 0, 0, 0], p2 })));
      else {
        expect(results).toEqual([
          { p2: [p2[0]], p1: [0, 0], p0: p0.slice(0, 2) },
          { p2: [p2[1]], p1: [0, 0], p0: p0.slice(2) },
        ]);
      }
    }
  });
});
