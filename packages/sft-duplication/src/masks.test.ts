import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createDuplicator } from './duplicate.ts';
import { epochOrder } from './masks.ts';
import type { SftOptions } from './options.ts';
import { type SftSample, TokenKind } from './types.ts';

const [MASK, EOS, BOS] = [0, 1, 2];
const base = { maskId: MASK, specialIds: [EOS, BOS], maxLength: 4096, threshold: 0 };

/** A sample with one answer of `length` tokens, special ones sprinkled in, and EOS. */
function sampleOf(length: number, specialAt: number[] = []): SftSample {
  const ids = Array.from({ length }, (_, i) => 10 + i);
  for (const at of specialAt) ids.splice(at % (length + 1), 0, BOS);
  return {
    segments: [
      { ids: [BOS, 5, 6], role: 'user', trainable: false },
      { ids: [...ids, EOS], role: 'assistant', trainable: true },
    ],
  };
}

/** The masked tokens of the copy, by their original ids, in order. */
function masked(sample: SftSample, options: Partial<SftOptions>, epoch = 0, index = 0): number[] {
  const { rows } = createDuplicator({ ...base, ...options }).duplicate(sample, { epoch, index });
  return rows.flatMap(({ kinds, targets }) => [...targets].filter((_, i) => kinds[i] === TokenKind.masked));
}

describe('masks', () => {
  it('are exactly max(1, floor(P · answer tokens)), never EOS or another special token', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200 }),
        fc.array(fc.nat(), { maxLength: 5 }),
        fc.double({ min: 0.001, max: 0.999, noNaN: true }),
        fc.nat(),
        (length, specialAt, ratio, seed) => {
          const tokens = masked(sampleOf(length, specialAt), { ratio, seed });
          expect(tokens.length).toBe(Math.max(1, Math.floor(ratio * length)));
          expect(new Set(tokens).size).toBe(tokens.length);
          expect(tokens.every((id) => id >= 10)).toBe(true);
        },
      ),
    );
  });

  it('are 5 of 51 tokens and 5 of 59, 6 of 60, at the ratio of the paper', () => {
    for (const [length, count] of [
      [51, 5],
      [59, 5],
      [60, 6],
      [9, 1],
      [1, 1],
    ]) {
      expect(masked(sampleOf(length), {}).length).toBe(count);
    }
  });

  it('depend on seed, epoch, sample and answer only', () => {
    const sample = sampleOf(100);
    const other: SftSample = { segments: [...sample.segments, ...sample.segments] };
    const draw = (options: Partial<SftOptions> = {}, epoch = 0, index = 0) =>
      masked(sample, options, epoch, index).join();
    const [first, second] = [masked(other, {}).slice(0, 10).join(), masked(other, {}).slice(10).join()];
    const draws = [draw(), draw({ seed: 1 }), draw({}, 1), draw({}, 0, 1), second];
    expect(new Set(draws).size).toBe(draws.length);
    expect(draw()).toBe(draws[0]);
    expect(first).toBe(draws[0]);
    for (const options of [
      { layout: 'separate-rows' },
      { layout: 'concatenated' },
      { loss: 'masked-only' },
    ]) {
      expect(draw(options as Partial<SftOptions>)).toBe(draws[0]);
    }
  });

  it('are the same in every epoch if static', () => {
    const draws = [0, 1, 2, 1000].map((epoch) => masked(sampleOf(100), { refresh: 'static' }, epoch).join());
    expect(new Set(draws).size).toBe(1);
    expect(draws[0]).toBe(masked(sampleOf(100), {}).join());
  });

  it('take every subset equally often', () => {
    const counts = new Map<string, number>();
    const numDraws = 20_000;
    const duplicator = createDuplicator({ ...base, ratio: 0.4, layout: 'separate-rows' });
    for (let draw = 0; draw < numDraws; draw++) {
      const at = { epoch: draw % 100, index: Math.floor(draw / 100) };
      const key = duplicator.duplicate(sampleOf(5), at).rows[1].lossMask.join('');
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    expect(counts.size).toBe(10);
    const statistic = [...counts.values()].reduce((sum, count) => sum + (count - 2000) ** 2 / 2000, 0);
    // 9 degrees of freedom: 99.9 % lie below 27.9.
    expect(statistic).toBeLessThan(27.9);
    expect(statistic).toBeGreaterThan(1);
  });
});

describe('epochOrder', () => {
  it('is a permutation, different every epoch and reproducible', () => {
    fc.assert(
      fc.property(fc.nat({ max: 300 }), fc.nat(), fc.nat({ max: 1000 }), (count, seed, epoch) => {
        const order = epochOrder({ count, seed, epoch });
        expect([...order].sort((a, b) => a - b)).toEqual([...Array(count).keys()]);
        expect(epochOrder({ count, seed, epoch })).toEqual(order);
        if (count > 30) expect(epochOrder({ count, seed, epoch: epoch + 1 })).not.toEqual(order);
      }),
    );
  });

  it('makes every order equally likely', () => {
    const counts = new Map<string, number>();
    for (let epoch = 0; epoch < 24_000; epoch++) {
      const key = epochOrder({ count: 4, seed: 5, epoch }).join();
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    const statistic = [...counts.values()].reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
    // 23 degrees of freedom: 99.9 % lie below 49.7.
    expect(statistic).toBeLessThan(49.7);
    expect(statistic).toBeGreaterThan(5);
  });
});
