import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MaskingError } from './error.ts';
import { MersenneTwister } from './mersenne-twister.ts';
import { referenceMask } from './reference-mask.ts';

type Case = [
  length: number,
  ratio: number,
  step: number,
  branch: 'pool' | 'set',
  count: number,
  sha256: string,
];
const fixture = JSON.parse(
  readFileSync(new URL('../fixtures/reference-masks.json', import.meta.url), 'utf8'),
) as { python: string; cases: Case[] };

const hash = (positions: Int32Array) =>
  createHash('sha256').update(positions.join()).digest('hex').slice(0, 16);

describe('MersenneTwister', () => {
  it('gives the first outputs published with mt19937ar for its array key', () => {
    const random = new MersenneTwister([0x123, 0x234, 0x345, 0x456]);
    const outputs = Array.from({ length: 5 }, () => random.nextUint32());
    expect(outputs).toEqual([1067595299, 955945823, 477289528, 4107218783, 4228976476]);
  });
});

describe('referenceMask', () => {
  it.each([
    [16, 0, [7, 13]],
    [16, 1, [3, 13]],
    [32, 0, [15, 27, 8, 11]],
    [32, 1, [7, 26, 16, 17]],
  ])('gives the check values at length %i, step %i', (length, step, positions) => {
    expect([...referenceMask({ length, ratio: 0.15, step })]).toEqual(positions);
  });

  it('gives the check values at length 4096', () => {
    const positions = referenceMask({ length: 4096, ratio: 0.15, step: 0 });
    expect([...positions.subarray(0, 4)]).toEqual([2037, 3504, 1090, 1491]);
    expect(hash(positions)).toBe('7fcf50acf8d9c0a1');
  });

  it(`equals CPython ${fixture.python} in ${fixture.cases.length} cases of both branches of random.sample`, () => {
    expect(new Set(fixture.cases.map(([, , , branch]) => branch))).toEqual(new Set(['pool', 'set']));
    const wrong = fixture.cases.filter(([length, ratio, step, , count, sha256]) => {
      const positions = referenceMask({ length, ratio, step });
      return positions.length !== count || hash(positions) !== sha256;
    });
    expect(wrong).toEqual([]);
  });

  it('gives distinct positions below the last one, and repeats after 51 steps', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 3000 }),
        fc.double({ min: 0, max: 0.99, noNaN: true }),
        fc.nat(),
        (length, ratio, step) => {
          const positions = referenceMask({ length, ratio, step });
          expect(new Set(positions).size).toBe(Math.max(1, Math.floor(length * ratio)));
          expect(positions.every((position) => position >= 0 && position < length - 1)).toBe(true);
          expect(referenceMask({ length, ratio, step: step + 51 })).toEqual(positions);
        },
      ),
    );
  });

  it.each([
    { length: 1, ratio: 0.1, step: 0 },
    { length: 16.5, ratio: 0.1, step: 0 },
    { length: 2 ** 31, ratio: 0.1, step: 0 },
    { length: 16, ratio: 1, step: 0 },
    { length: 16, ratio: -0.1, step: 0 },
    { length: 16, ratio: Number.NaN, step: 0 },
    { length: 16, ratio: 0.1, step: -1 },
  ])('refuses %o in one line', (options) => {
    expect(() => referenceMask(options)).toThrow(MaskingError);
    expect(() => referenceMask(options)).toThrow(/^referenceMask: .*got .*expected [^\n]*$/);
  });
});
