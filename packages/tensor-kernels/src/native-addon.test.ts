/** The addon trusts no size: neither one whose product wraps around to a small number, nor one that is none. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NativeAddon } from './addon-interface.ts';
import { loadNativeAddon } from './native-addon.ts';

const addon = loadNativeAddon();
const none = new Float32Array(0);
const noIds = new Int32Array(0);
const [HALF, QUARTER] = [2 ** 32, 2 ** 16];

describe('sizes', () => {
  // 64 bits hold each product as 0, so that an empty array would be long enough.
  it.each<[string, () => void]>([
    [
      '4294967296 x 65536 x 65536',
      () => addon.gemm(HALF, QUARTER, QUARTER, QUARTER, ...Array(5).fill(false), none, none, null, none),
    ],
    [
      '4294967296 x 65536 x 65536 x 1',
      () => addon.attention(HALF, QUARTER, QUARTER, QUARTER, QUARTER, 1, 0, 1, none, none, none, null, null),
    ],
    [
      '1 x 4294967296 x 4294967296 x 2',
      () => addon.rotary(1, HALF, HALF, 2, 1, false, none, none, none, none),
    ],
    ['4294967296 x 4294967296', () => addon.rmsNorm(HALF, HALF, 1e-5, none, none, none)],
    // Kernels multiply the sizes beside the 0.
    [
      '1099511627776 x 0 x 1 x 1099511627776',
      () => addon.attention(2 ** 40, 0, 0, 1, 1, 2 ** 40, 0, 1, none, none, none, null, null, none, none),
    ],
  ])('whose product is beyond any array are refused: %s', (sizes, call) => {
    expect(call).toThrow(`native: sizes of an array of more than 2^40 elements, got ${sizes}`);
  });

  const nulls = [null, null];
  // What each takes after its sizes; nothing is long enough unless a size is 0.
  const calls: [keyof NativeAddon, number, (sizes: number[]) => unknown[]][] = [
    ['gemm', 4, (sizes) => [...sizes, ...Array(5).fill(false), none, none, null, none]],
    ['attention', 7, (sizes) => [...sizes, 1, none, none, none, ...nulls, none, none]],
    ['attentionGrad', 7, (sizes) => [...sizes, 1, none, none, none, ...nulls, ...Array(6).fill(none)]],
    ['cachedAttention', 6, (sizes) => [...sizes, 1, none, none, none, [], [], [], none]],
    ['crossEntropy', 3, (sizes) => [...sizes, false, none, none, noIds, null, none, null, null, none]],
    ['rmsNorm', 2, (sizes) => [...sizes, 1e-5, none, none, none]],
    ['rmsNormGrad', 2, (sizes) => [...sizes, 1e-5, none, none, none, null, none, none]],
    ['rotary', 5, (sizes) => [...sizes, false, none, none, none, none]],
    ['dropout', 2, (sizes) => [...sizes, 0, noIds, none, none]],
    ['embedding', 3, (sizes) => [...sizes, noIds, none, none]],
    ['embeddingGrad', 3, (sizes) => [...sizes, none, noIds, none]],
  ];
  it.each(calls)('of %s are never more than its arrays hold', (name, numSizes, argumentsOf) => {
    const size = fc.oneof(
      fc.constantFrom(1, 2, 3),
      fc.integer({ min: 1, max: 40 }).map((bits) => 2 ** bits),
    );
    fc.assert(
      fc.property(fc.array(size, { minLength: numSizes, maxLength: numSizes }), (sizes) => {
        const call = addon[name] as (...values: unknown[]) => void;
        expect(() => call(...argumentsOf(sizes))).toThrow(/^native: /);
      }),
      { numRuns: 300 },
    );
  });
});

it('a cache of a length that is none is refused, and one whose end is beyond it', () => {
  const one = new Float32Array(1);
  const attend = (length: number) =>
    addon.cachedAttention(1, 1, 1, 1, 1, 0, 1, one, one, one, [length], [one], [one], one);
  for (const length of [-1, Number.NaN, 0.5, 1e300]) {
    expect(() => attend(length)).toThrow('native: argument 10 is not a list of whole numbers from 0 to 2^40');
  }
  expect(() => attend(1)).toThrow('argument 11 is too short, got 1 elements, expected 2');
  expect(() => attend(0)).not.toThrow();
});

it('no tokens leave gradients of zero, whatever the buffer held', () => {
  const [dk, dv, dWeight] = [1, 1, 6].map((length) => new Float32Array(length).fill(7));
  addon.attentionGrad(1, 0, 1, 1, 1, 1, 0, 1, none, dk, dv, null, null, none, none, none, none, dk, dv);
  addon.crossEntropy(0, 3, 2, false, none, new Float32Array(6), noIds, null, none, null, none, dWeight);
  expect([dk, dv, dWeight].map((values) => values.every((value) => value === 0))).toEqual([true, true, true]);
});

it('threads are as many as a process can have', () => {
  for (const threads of [0, 1025, 2 ** 32]) {
    expect(() => addon.setNumThreads(threads)).toThrow('native: a number of threads outside 1 to 1024');
  }
});
