import { describe, expect, test } from 'vitest';
import { ConfigError } from './errors.ts';
import { normals, randomKey, uniform } from './random.ts';

describe('randomKey', () => {
  test('differs in seed and purpose, also in a seed’s high bits and by a trailing zero character', () => {
    const seeds = [0, 1, 2 ** 32, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER];
    const purposes = ['', 'a', 'a\0', '\0a', 'ab', 'ba'];
    const keys = seeds.flatMap((seed) => purposes.map((purpose) => randomKey(seed, purpose).join()));
    expect(new Set(keys).size).toBe(seeds.length * purposes.length);
  });

  test.each([-1, 1.5, Number.NaN, 2 ** 53])('refuses seed %d', (seed) => {
    expect(() => randomKey(seed, 'weights')).toThrow(ConfigError);
  });
});

test('uniform draws fill the interval evenly', () => {
  const key = randomKey(7, 'test');
  const bins = new Array<number>(10).fill(0);
  for (let i = 0; i < 10_000; i++) bins[Math.floor(uniform(key, i) * 10)]++;
  // Chi-square with 9 degrees of freedom: 27.9 is the 99.9 % quantile.
  expect(bins.reduce((sum, n) => sum + (n - 1000) ** 2 / 1000, 0)).toBeLessThan(27.9);
});

describe('normals', () => {
  const size = 200_001;
  const draws = normals(randomKey(1, 'test'), size, 0.5);

  test('have the moments of a normal distribution', () => {
    const moment = (power: number) => draws.reduce((sum, x) => sum + (x / 0.5) ** power, 0) / size;
    expect(moment(1)).toBeCloseTo(0, 1.8);
    expect(moment(2)).toBeCloseTo(1, 1.6);
    expect(moment(3)).toBeCloseTo(0, 1.4);
    expect(moment(4)).toBeCloseTo(3, 1);
    expect(draws.every(Number.isFinite)).toBe(true);
  });

  test('adjacent numbers are uncorrelated', () => {
    for (const lag of [1, 2, 3]) {
      let sum = 0;
      for (let i = lag; i < size; i++) sum += draws[i] * draws[i - lag];
      expect(Math.abs(sum / size / 0.25)).toBeLessThan(4 / Math.sqrt(size));
    }
  });

  test('a shorter series is the start of a longer one', () => {
    expect(normals(randomKey(1, 'test'), 7, 0.5)).toEqual(draws.slice(0, 7));
  });
});
