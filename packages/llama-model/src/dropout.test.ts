import { setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { type DropoutKey, dropout } from './dropout.ts';

beforeAll(async () => {
  await setBackend('cpu');
});

function factors(shape: number[], rate: number, key: DropoutKey, purpose = 'a'): number[] {
  return tf.tidy(() => [...dropout(tf.ones(shape), rate, key, purpose).dataSync()]);
}

describe('dropout', () => {
  test('zeroes its share and scales the rest, so that the mean stays', () => {
    const size = 40_000;
    for (const rate of [0.05, 0.5, 0.9]) {
      const values = factors([1, 200, 200], rate, { seed: 1, step: 0 });
      expect(new Set(values.map((x) => Math.fround(x))).size).toBe(2);
      const dropped = values.filter((x) => x === 0).length;
      // Five standard deviations of a binomial.
      expect(Math.abs(dropped - rate * size)).toBeLessThan(5 * Math.sqrt(size * rate * (1 - rate)));
      expect(Math.max(...values)).toBeCloseTo(1 / (1 - rate), 2);
    }
  });

  test('adjacent elements are dropped independently', () => {
    const values = factors([1, 200, 200], 0.5, { seed: 2, step: 0 });
    for (const lag of [1, 2, 3, 4, 200]) {
      const equal = values.slice(lag).filter((x, i) => x === values[i]).length;
      expect(Math.abs(equal - (values.length - lag) / 2)).toBeLessThan(5 * Math.sqrt(values.length / 4));
    }
  });

  test('depends on seed, step, row and purpose, and on nothing else', () => {
    fc.assert(
      fc.property(
        fc.record({ seed: fc.nat(), step: fc.nat(1e6), firstRow: fc.nat(1000) }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 7 }),
        (key, numRows, width) => {
          const whole = factors([numRows, 5, width], 0.4, key);
          const rows = Array.from({ length: numRows }, (_, row) =>
            factors([1, 5, width], 0.4, { ...key, firstRow: key.firstRow + row }),
          );
          expect(rows.flat()).toEqual(whole);
        },
      ),
      { numRuns: 30 },
    );
    const key = { seed: 1, step: 2 };
    const reference = factors([1, 8, 8], 0.5, key);
    expect(factors([1, 8, 8], 0.5, { ...key, firstRow: 0 })).toEqual(reference);
    expect(factors([1, 8, 8], 0.5, { ...key, seed: 2 })).not.toEqual(reference);
    expect(factors([1, 8, 8], 0.5, { ...key, step: 3 })).not.toEqual(reference);
    expect(factors([1, 8, 8], 0.5, { ...key, firstRow: 1 })).not.toEqual(reference);
    expect(factors([1, 8, 8], 0.5, key, 'b')).not.toEqual(reference);
  });
});
