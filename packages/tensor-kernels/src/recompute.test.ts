import { expectClose, expectNoLeaks } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from './index.ts';

const random = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed);
const heads = (seed: number) => random([1, 7, 2, 4], seed) as tf.Tensor4D;

describe.each(['native', 'cpu'] as const)('on %s', (backend) => {
  beforeAll(async () => {
    await k.setBackend(backend);
  });

  it('keep computes its result once, with the same gradients', () => {
    const [q, key, v] = [heads(1), heads(2), heads(3)];
    let runs = 0;
    const f = ([q, key, v]: tf.Tensor[], keep?: k.Keep) => {
      const counting: k.Keep | undefined =
        keep &&
        ((compute) =>
          keep(() => {
            runs++;
            return compute();
          }));
      const [a, b] = [1, 2].map((scale) =>
        k.attention(q as tf.Tensor4D, key as tf.Tensor4D, v as tf.Tensor4D, { scale, keep: counting }),
      );
      return tf.add(a, tf.tanh(b));
    };
    const loss = (run: (x: tf.Tensor[]) => tf.Tensor) =>
      tf.valueAndGrads((...x) => tf.sum(tf.square(run(x))))([q, key, v]);
    const direct = loss((x) => f(x));
    const kept = loss((x) => k.recompute((x, _, keep) => f(x, keep), x));
    // Where attention is composed of other ops there is nothing of it to keep.
    expect(runs).toBe(backend === 'native' ? 2 : 0);
    expectClose(kept.value, direct.value, { relative: 0 });
    for (const [i, gradient] of direct.grads.entries()) expectClose(kept.grads[i], gradient, { relative: 0 });
  });

  it('pieces of any length give the value and gradients of one', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 10 }),
        fc.boolean(),
        (B, T, length, batched) => {
          const tensors = [random([B, T, 3], 1), random([B, T, 2], 2), random([3, 2], 3)];
          const table = random(batched ? [B, T, 2] : [T, 2], 4);
          const constant = random([2], 5);
          const part = (
            [x, y]: tf.Tensor[],
            [w]: tf.Tensor[],
            [table]: tf.Tensor[],
            [constant]: tf.Tensor[],
          ) =>
            tf.mul(
              tf.tanh(tf.add(tf.matMul(x, w.expandDims(0).tile([x.shape[0], 1, 1])), y)),
              tf.add(table, constant),
            );
          const weighted = (y: tf.Tensor) => tf.sum(tf.mul(y, tf.range(1, y.size + 1).reshape(y.shape)));
          const direct = tf.valueAndGrads((x, y, w) => weighted(part([x, y], [w], [table], [constant])))(
            tensors,
          );
          const starts = new Set<number>();
          const pieces = tf.valueAndGrads((x, y, w) =>
            weighted(
              k.recomputeInPieces(
                ({ rows, weights, tables, constants, start }) => {
                  starts.add(start);
                  expect(rows[0].shape[1]).toBe(Math.min(length, T - start));
                  return part(rows, weights, tables, constants);
                },
                { rows: [x, y], weights: [w], tables: [table], constants: [constant], length },
              ),
            ),
          )(tensors);
          expect([...starts]).toEqual(Array.from({ length: Math.ceil(T / length) }, (_, i) => i * length));
          expectClose(pieces.value, direct.value, { relative: 1e-5 });
          for (const [i, gradient] of direct.grads.entries()) {
            expectClose(pieces.grads[i], gradient, { relative: 1e-5 });
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  it('leaks no tensors', async () => {
    const [x, w] = [random([1, 7, 3], 1), random([1, 3, 3], 2)];
    const table = random([7, 3], 3);
    const nested = (x: tf.Tensor, w: tf.Tensor) =>
      k.recompute(
        ([x, w], [table], keep) =>
          k.recomputeInPieces(
            ({ rows: [x], weights: [w], tables: [table] }) => tf.mul(tf.matMul(x, w), table),
            { rows: [tf.add(x, keep(() => [tf.tanh(x)])[0])], weights: [w], tables: [table], length: 2 },
          ),
        [x, w],
        [table],
      );
    await expectNoLeaks(() => {
      tf.dispose(tf.valueAndGrads((x, w) => tf.sum(tf.square(nested(nested(x, w), w))))([x, w]));
      tf.dispose(nested(x, w));
    });
  });
});
