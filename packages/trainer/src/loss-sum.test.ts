import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { TrainerError } from './errors.ts';
import { accumulateGradients } from './gradients.ts';
import { requireLossSum } from './loss-sum.ts';
import type { LossSum } from './types.ts';
import { validate } from './validation.ts';

const wrong: [string, () => unknown, string][] = [
  ['a vector', () => ({ sum: tf.ones([2]), count: 2 }), 'got float32 [2]; sum over the tokens with tf.sum'],
  ['whole numbers', () => ({ sum: tf.scalar(1, 'int32'), count: 2 }), 'got int32 []'],
  ['a promise', async () => ({ sum: tf.scalar(1), count: 2 }), 'got undefined, expected { sum, count }'],
  ['a number', () => ({ sum: 1, count: 2 }), 'sum is not a tensor, got number'],
  ['no count', () => ({ sum: tf.scalar(1) }), 'count is not a number of targets, got undefined'],
  ['a count below 0', () => ({ sum: tf.scalar(1), count: -1 }), 'got -1, expected 0 or more'],
];

it.each(wrong)(
  'a loss that returns %s is refused, in training and in validation',
  async (_, loss, message) => {
    const source = () => 0;
    const lossSum = loss as () => LossSum;
    const options = { parameters: new Map(), loss: lossSum, batches: source, step: 0, microBatches: 1 };
    await expect(accumulateGradients(options)).rejects.toThrow(TrainerError);
    await expect(accumulateGradients(options)).rejects.toThrow(message);
    const part = () => ({ sum: tf.scalar(1), count: 1, bytes: 1, parts: { masked: lossSum() } });
    const batches = () => [0];
    await expect(validate({ every: 1, batches, loss: () => ({ ...lossSum(), bytes: 1 }) })).rejects.toThrow(
      'validation loss: ',
    );
    await expect(validate({ every: 1, batches, loss: part })).rejects.toThrow('part masked: ');
  },
);

it('accepts a tensor that TensorFlow.js types without a rank', () => {
  const sum: tf.Tensor = tf.sum(tf.ones([3]));
  expect(requireLossSum('loss', { sum, count: 3 })).toBe(sum);
});
