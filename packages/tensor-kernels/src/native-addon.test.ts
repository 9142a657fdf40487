/** The addon trusts no argument: none that is missing or of another kind, no size whose product overflows. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { KernelArguments } from './addon-interface.ts';
import { loadNativeAddon } from './native-addon.ts';
import { writeQuantizedHeader } from './quantized-layout.ts';

const addon = loadNativeAddon();
const none = new Float32Array(0);
const heads = { B: 0, T: 0, H: 1, G: 1, D: 0, window: 0, scale: 1 };
const queries = { q: none, k: none, v: none, segmentIds: null, prefixIds: null, out: none, logSumExp: none };
const quantized = new Uint8Array(16);
writeQuantizedHeader(quantized, 0, 'int8');
const elementwise = { n: 0, a: none, b: none, y: none };

/** A call of each kernel that computes nothing: every size that may be 0 is. */
const empty: KernelArguments = {
  gemm: {
    ...{ batch: 0, M: 0, N: 0, K: 0, transposeA: false, transposeB: false, sharedA: false, sharedB: false },
    ...{ bfloat16: false, a: none, b: none, plus: null, c: none },
  },
  attention: { ...heads, S: 0, ...queries },
  attentionGrad: { ...heads, S: 0, ...queries, dOut: none, dq: none, dk: none, dv: none },
  cachedAttention: { ...heads, q: none, k: none, v: none, out: none, lengths: [], keys: [], values: [] },
  linearCrossEntropy: {
    ...{
      N: 0,
      V: 0,
      C: 1,
      zLoss: 0,
      bfloat16: false,
      x: none,
      weight: none,
      targets: new Int32Array(0),
      mask: null,
    },
    ...{ losses: none, squares: null, greedyIds: null, dx: null, dWeight: null },
  },
  rmsNorm: { rows: 0, C: 0, epsilon: 1e-5, x: none, weight: none, y: none },
  rmsNormGrad: {
    ...{ rows: 0, C: 0, epsilon: 1e-5, dy: none, x: none, weight: none, plus: null, dx: none, dWeight: none },
  },
  rotary: { B: 0, T: 0, H: 0, D: 0, tableBatch: 1, inverse: false, x: none, cos: none, sin: none, y: none },
  swiGlu: { n: 0, gate: none, up: none, y: none },
  swiGluGrad: { n: 0, dy: none, gate: none, up: none, dGate: none, dUp: none },
  dropout: { rows: 0, n: 0, dropBelow: 0, keys: new Int32Array(0), x: none, y: none },
  embedding: { n: 0, V: 0, C: 0, ids: new Int32Array(0), table: none, y: none },
  embeddingGrad: { n: 0, V: 0, C: 0, dy: none, ids: new Int32Array(0), dTable: none },
  adamW: {
    ...{ n: 0, learningRate: 1, beta1: 0.9, beta2: 0.9, epsilon: 1, weightDecay: 0, gradientScale: 1 },
    ...{
      correction1: 1,
      correction2: 1,
      parameter: none,
      gradient: none,
      firstMoment: none,
      secondMoment: none,
    },
  },
  muon: {
    ...{ M: 0, N: 0, momentum: 0.95, decay: 1, stepSize: 1, gradientScale: 1, bfloat16: false },
    ...{ parameter: none, gradient: none, momentumBuffer: none, work: none },
  },
  sumOfSquares: { n: 0, x: none },
  toBfloat16: { n: 0, x: none, y: new Uint16Array(0) },
  fromBfloat16: { n: 0, x: new Uint16Array(0), y: none },
  quantize: { n: 0, x: none, y: quantized },
  dequantize: { n: 0, x: quantized, y: none },
  add: elementwise,
  multiply: elementwise,
  scale: { n: 0, factor: 1, a: none, y: none },
};

/** Calls a kernel with some fields replaced. */
function call(name: keyof KernelArguments, changes: object = {}): void {
  (addon[name] as (fields: object) => void)({ ...empty[name], ...changes });
}

describe.each(Object.entries(empty) as [keyof KernelArguments, object][])('%s', (name, fields) => {
  it('takes the fields that its type declares', () => {
    expect(() => call(name)).not.toThrow();
  });

  it.each(Object.entries(fields))('refuses a missing or wrong %s and names it', (field, value) => {
    const start = `native: ${name}: ${field}: got `;
    // Null and absence leave an optional array out.
    if (value !== null)
      expect(() => call(name, { [field]: undefined })).toThrow(`${start}undefined, expected `);
    expect(() => call(name, { [field]: 'text' })).toThrow(`${start}a string, expected `);
  });
});

it('every kernel of the addon has a type', () => {
  const source = readFileSync(new URL('../native/addon.cpp', import.meta.url), 'utf8');
  const table = /kernelFunctions\[\] = \{(.*?)\n\};/s.exec(source)![1];
  expect([...table.matchAll(/\{\{"(\w+)"/g)].map(([, name]) => name)).toEqual(Object.keys(empty));
});

describe('sizes', () => {
  const [LARGE, SMALL] = [2 ** 32, 2 ** 16];
  // 64 bits hold each product as 0, so that an empty array would be long enough.
  it.each<[string, keyof KernelArguments, object]>([
    ['4294967296 x 65536 x 65536', 'gemm', { batch: LARGE, M: SMALL, N: SMALL, K: SMALL }],
    [
      '4294967296 x 65536 x 65536 x 1',
      'attention',
      { B: LARGE, T: SMALL, S: SMALL, H: SMALL, G: SMALL, D: 1 },
    ],
    ['1 x 4294967296 x 4294967296 x 2', 'rotary', { B: 1, T: LARGE, H: LARGE, D: 2 }],
    ['4294967296 x 4294967296', 'rmsNorm', { rows: LARGE, C: LARGE }],
    // Kernels multiply the sizes beside the 0.
    ['1099511627776 x 0 x 1 x 1099511627776', 'attention', { B: 2 ** 40, D: 2 ** 40 }],
  ])('whose product is beyond any array are refused: %s', (sizes, name, fields) => {
    expect(() => call(name, fields)).toThrow(
      `native: ${name}: sizes of an array of more than 2^40 elements, got ${sizes}`,
    );
  });

  const sized: [keyof KernelArguments, string[]][] = [
    ['gemm', ['batch', 'M', 'N', 'K']],
    ['attention', ['B', 'T', 'S', 'H', 'G', 'D', 'window']],
    ['attentionGrad', ['B', 'T', 'S', 'H', 'G', 'D', 'window']],
    ['cachedAttention', ['B', 'T', 'H', 'G', 'D', 'window']],
    ['linearCrossEntropy', ['N', 'V', 'C']],
    ['rmsNorm', ['rows', 'C']],
    ['rmsNormGrad', ['rows', 'C']],
    ['rotary', ['B', 'T', 'H', 'D', 'tableBatch']],
    ['dropout', ['rows', 'n']],
    ['embedding', ['n', 'V', 'C']],
    ['embeddingGrad', ['n', 'V', 'C']],
    ['muon', ['M', 'N']],
  ];
  it.each(sized)('of %s are never more than its arrays hold', (name, names) => {
    const size = fc.oneof(
      fc.constantFrom(1, 2, 3),
      fc.integer({ min: 1, max: 40 }).map((bits) => 2 ** bits),
    );
    const sizes = fc.record(Object.fromEntries(names.map((field) => [field, size])));
    fc.assert(
      fc.property(sizes, (fields) => {
        expect(() => call(name, fields)).toThrow(/^native: /);
      }),
      { numRuns: 300 },
    );
  });

  it.each([-1, Number.NaN, 0.5, 1e300])('are whole numbers, %d is refused', (n) => {
    expect(() => call('sumOfSquares', { n })).toThrow(
      `native: sumOfSquares: n: got ${n === 1e300 ? '1e+300' : String(n).toLowerCase()}, expected a whole number from 0 to 2^40`,
    );
  });
});

it('refuses an invalid length of a cache, and one that exceeds the cache', () => {
  const one = new Float32Array(1);
  const sizes = { B: 1, T: 1, H: 1, G: 1, D: 1 };
  const attend = (length: number) =>
    call('cachedAttention', {
      ...sizes,
      q: one,
      k: one,
      v: one,
      lengths: [length],
      keys: [one],
      values: [one],
      out: one,
    });
  for (const length of [-1, Number.NaN, 0.5, 1e300]) {
    expect(() => attend(length)).toThrow(
      /^native: cachedAttention: lengths: got .* expected a list of whole/,
    );
  }
  expect(() => attend(1)).toThrow('cachedAttention: keys: got 1 elements, expected at least 2');
  expect(() => attend(0)).not.toThrow();
});

it('without tokens, gradients are zero regardless of the buffer', () => {
  const [dk, dv, dWeight] = [1, 1, 6].map((length) => new Float32Array(length).fill(7));
  call('attentionGrad', { B: 1, S: 1, D: 1, k: dk, v: dv, dk, dv });
  call('linearCrossEntropy', { V: 3, C: 2, weight: new Float32Array(6), dx: none, dWeight });
  expect([dk, dv, dWeight].map((values) => values.every((value) => value === 0))).toEqual([true, true, true]);
});

it('limits the number of threads', () => {
  for (const threads of [0, 1025, 2 ** 32]) {
    expect(() => addon.setNumThreads(threads)).toThrow('native: setNumThreads: threads outside 1 to 1024');
  }
});
