import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { rankTokens } from './log-probabilities.ts';
import './testing.ts';

const logits = fc.array(fc.float({ min: -50, max: 50, noNaN: true }), { minLength: 1, maxLength: 60 });

test('property: log-softmax, and the k largest with the lower id first', () => {
  const property = fc.property(logits, fc.nat(), fc.nat(25), (values, seed, numTop) => {
    const id = seed % values.length;
    const { logprob, top } = rankTokens(Float32Array.from(values), id, numTop);
    const expected = tf.tidy(() => tf.logSoftmax(tf.tensor1d(values)).arraySync());
    expect(Math.abs(logprob - expected[id])).toBeLessThan(1e-4);
    const order = [...values.keys()].sort((a, b) => values[b] - values[a] || a - b).slice(0, numTop);
    expect(top.map((token) => token.id)).toEqual(order);
    for (const token of top) expect(Math.abs(token.logprob - expected[token.id])).toBeLessThan(1e-4);
  });
  fc.assert(property, { numRuns: 300 });
});
