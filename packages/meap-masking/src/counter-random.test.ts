import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CounterRandom, philox4x32 } from './counter-random.ts';
import { MaskingError } from './error.ts';

const key = { seed: 7, purpose: 'mask', step: 3, row: 11 };
const draw = (random: CounterRandom, count: number) =>
  Array.from({ length: count }, () => random.nextUint32());

function philox(counter: number[], [key0, key1]: number[]): number[] {
  const words = Uint32Array.from(counter);
  philox4x32(words, key0, key1);
  return [...words];
}

/** The same cipher over big integers, as the paper writes it. */
function philoxBigInt(counter: bigint[], key: bigint[]): bigint[] {
  const mask = 0xffffffffn;
  let [a, b, c, d] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const p0 = 0xd2511f53n * a;
    const p1 = 0xcd9e8d57n * c;
    [a, b, c, d] = [(p1 >> 32n) ^ b ^ k0, p1 & mask, (p0 >> 32n) ^ d ^ k1, p0 & mask];
    k0 = (k0 + 0x9e3779b9n) & mask;
    k1 = (k1 + 0xbb67ae85n) & mask;
  }
  return [a, b, c, d];
}

describe('philox4x32', () => {
  it('returns the known answers published with Random123', () => {
    expect(philox([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    const ones = 0xffffffff;
    expect(philox([ones, ones, ones, ones], [ones, ones])).toEqual([
      0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd,
    ]);
    expect(philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0])).toEqual([
      0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1,
    ]);
  });

  it('equals the cipher over big integers', () => {
    const word = fc.integer({ min: 0, max: 0xffffffff });
    fc.assert(
      fc.property(fc.tuple(word, word, word, word), fc.tuple(word, word), (counter, key) => {
        expect(philox(counter, key)).toEqual(philoxBigInt(counter.map(BigInt), key.map(BigInt)).map(Number));
      }),
      { numRuns: 500 },
    );
  });
});

describe('CounterRandom', () => {
  it('is Philox with the seed as key and (block, row, step, purpose) as counter', () => {
    const random = new CounterRandom({ seed: 2 ** 40 + 5, purpose: '', step: 9, row: 4 });
    // FNV-1a of the empty text is its offset basis.
    const blocks = [0, 1, 2].flatMap((block) => philox([block, 4, 9, 0x811c9dc5], [5, 256]));
    expect(draw(random, 12)).toEqual(blocks);
  });

  it('returns other numbers when any part of the key changes, and otherwise the same', () => {
    const others = [{ seed: 8 }, { seed: 7 + 2 ** 32 }, { purpose: 'shuffle' }, { step: 4 }, { row: 12 }];
    const streams = [{}, ...others].map((change) => draw(new CounterRandom({ ...key, ...change }), 4).join());
    expect(new Set(streams).size).toBe(streams.length);
    expect(draw(new CounterRandom(key), 4).join()).toBe(streams[0]);
  });

  it('draws uniform integers below any bound', () => {
    const random = new CounterRandom(key);
    const bound = 10;
    const numDraws = 20_000;
    const counts = new Array(bound).fill(0);
    for (let i = 0; i < numDraws; i++) counts[random.nextBelow(bound)]++;
    const expected = numDraws / bound;
    const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    // 9 degrees of freedom: 99.9 % lie below 27.9.
    expect(chiSquare).toBeLessThan(27.9);
    expect(chiSquare).toBeGreaterThan(1);
  });

  it('is unbiased for a bound that does not divide 2^32', () => {
    // Below 3·2^30, two words in four would go to the multiples of three.
    const random = new CounterRandom(key);
    const bound = 3 * 2 ** 30;
    const thirds = [0, 0, 0];
    for (let i = 0; i < 30_000; i++) thirds[random.nextBelow(bound) % 3]++;
    for (const count of thirds) expect(Math.abs(count - 10_000)).toBeLessThan(400);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 0xffffffff }), (anyBound) => {
        const value = random.nextBelow(anyBound);
        expect(Number.isInteger(value) && value >= 0 && value < anyBound).toBe(true);
      }),
    );
  });

  it('draws doubles in [0, 1) with mean one half', () => {
    const random = new CounterRandom(key);
    const values = Array.from({ length: 10_000 }, () => random.nextFloat());
    expect(values.every((value) => value >= 0 && value < 1)).toBe(true);
    expect(values.some((value) => (value * 2 ** 53) % 2 === 1)).toBe(true);
    expect(Math.abs(values.reduce((sum, value) => sum + value, 0) / values.length - 0.5)).toBeLessThan(0.01);
  });

  it('refuses keys and bounds out of range', () => {
    for (const bad of [
      { seed: -1 },
      { seed: 2 ** 53 },
      { seed: 0.5 },
      { step: 2 ** 32 },
      { row: Number.NaN },
    ]) {
      expect(() => new CounterRandom({ ...key, ...bad })).toThrow(MaskingError);
    }
    for (const bad of [0, -1, 1.5, 2 ** 32]) {
      expect(() => new CounterRandom(key).nextBelow(bad)).toThrow(MaskingError);
    }
  });
});
