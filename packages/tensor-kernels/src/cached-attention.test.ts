import { expectClose, expectNoLeaks } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { attention, cachedAttention, type SequenceCache, setBackend } from './index.ts';
import { loadNativeAddon } from './native-addon.ts';

const [H, G, D] = [4, 2, 24];

interface Sequence {
  q: tf.Tensor4D;
  k: tf.Tensor4D;
  v: tf.Tensor4D;
}

function sequence(length: number, seed: number): Sequence {
  const random = (heads: number, seed: number) =>
    tf.randomNormal([1, length, heads, D], 0, 1, 'float32', seed) as tf.Tensor4D;
  return { q: random(H, seed), k: random(G, seed + 1), v: random(G, seed + 2) };
}

function emptyCache(capacity: number): SequenceCache {
  const make = () => tf.tidy(() => tf.variable(tf.zeros([capacity, G, D])));
  return { keys: make(), values: make(), length: 0 };
}

const at = (x: tf.Tensor4D, from: number, count: number) => x.slice([0, from], [1, count]);

describe.each(['native', 'wasm', 'cpu'] as const)('on %s', (backend) => {
  it.each([undefined, 7])('sequences of different lengths, grown step by step, window %s', async (window) => {
    await setBackend(backend);
    const lengths = [9, 40, 23];
    const sequences = lengths.map((length, i) => sequence(length + 8, 10 * i));
    const caches = lengths.map(() => emptyCache(50));
    // Each reads its beginning alone, in two pieces, then all go on together by one, three and four tokens.
    const filled = lengths.map((length, b) => {
      const first = Math.floor(length / 2);
      for (const [from, count] of [
        [0, first],
        [first, length - first],
      ]) {
        const { q, k, v } = sequences[b];
        const cache = { ...caches[b], length: from };
        cachedAttention(at(q, from, count), at(k, from, count), at(v, from, count), [cache], { window });
      }
      return length;
    });
    for (const count of [1, 3, 4]) {
      const batch = (name: keyof Sequence) =>
        tf.concat(sequences.map((s, b) => at(s[name], filled[b], count))) as tf.Tensor4D;
      const held = caches.map((cache, b) => ({ ...cache, length: filled[b] }));
      const got = cachedAttention(batch('q'), batch('k'), batch('v'), held, { window });
      for (const [b, { q, k, v }] of sequences.entries()) {
        const end = filled[b] + count;
        const want = attention(at(q, filled[b], count), at(k, 0, end), at(v, 0, end), { window });
        expectClose(got.slice([b], [1]), want, { relative: 3e-6, absolute: 1e-6 });
        filled[b] = end;
      }
    }
  });

  it('leaks no tensors', async () => {
    await setBackend(backend);
    const { q, k, v } = sequence(6, 1);
    const cache = emptyCache(8);
    await expectNoLeaks(() => {
      cachedAttention(q, k, v, [cache]).dispose();
    });
  });
});

// Longer than one run of keys, in whole and broken runs and vectors; heads that fill vectors or do not.
const cases = [
  { length: 32, numHeads: 6, groups: 1, headSize: 10, window: undefined },
  { length: 1300, numHeads: 6, groups: 2, headSize: 64, window: undefined },
  { length: 1535, numHeads: 5, groups: 5, headSize: 24, window: 700 },
  { length: 511, numHeads: 3, groups: 1, headSize: 8, window: undefined },
];
describe.each(loadNativeAddon().instructionSets())('one query on %s', (instructionSet) => {
  it.each(cases)('against $length keys, $numHeads heads in $groups groups of $headSize', async (shape) => {
    const { length, numHeads, groups, headSize, window } = shape;
    await setBackend('native');
    const addon = loadNativeAddon();
    const best = addon.instructionSet();
    addon.setInstructionSet(instructionSet);
    tf.tidy(() => {
      const random = <T extends tf.Tensor = tf.Tensor4D>(shape: number[], seed: number) =>
        tf.randomNormal(shape, 0, 1, 'float32', seed) as tf.Tensor as T;
      const q = random([1, 1, numHeads, headSize], 1);
      const [k, v] = [2, 3].map((seed) => random([1, 1, groups, headSize], seed));
      const [keys, values] = [4, 5].map((seed) => tf.variable(random([length + 1, groups, headSize], seed)));
      const got = cachedAttention(q, k, v, [{ keys, values, length }], { window });
      const want = attention(q, keys.expandDims(0), values.expandDims(0), { window });
      expectClose(got, want, { relative: 3e-6, absolute: 1e-6 });
      tf.dispose([keys, values]);
    });
    addon.setInstructionSet(best);
  });
});

describe('refuses', () => {
  const { q, k, v } = sequence(3, 1);

  it('a cache without room', () => {
    expect(() => cachedAttention(q, k, v, [{ ...emptyCache(4), length: 2 }])).toThrow(
      'cachedAttention: cache 0 is full, got 2 + 3 tokens for 4 rows',
    );
  });

  it('another number of caches than sequences', () => {
    expect(() => cachedAttention(q, k, v, [])).toThrow('got 0 for 1 sequences');
  });

  it('a cache of other heads', () => {
    const keys = tf.variable(tf.zeros([9, 1, D]));
    expect(() => cachedAttention(q, k, v, [{ keys, values: keys, length: 0 }])).toThrow(
      'keys of cache 0 has the wrong shape, got [9,1,24], expected [*, 2, 24]',
    );
  });
});
