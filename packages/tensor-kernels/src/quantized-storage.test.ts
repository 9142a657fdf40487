/** Weights in 8 and 4 bits: codes and values of bitsandbytes, and those of the definition in plain ops. */
import { readFileSync } from 'node:fs';
import { expectNoLeaks } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import * as k from './index.ts';
import { loadNativeAddon } from './native-addon.ts';
import { nativeBackend } from './native-interface.ts';

const addon = loadNativeAddon();
const best = addon.instructionSet();
beforeAll(() => k.setBackend('native'));
afterAll(() => addon.setInstructionSet(best));

/** Made by fixtures/make_quantized.py. */
const cases: {
  n: number;
  dtype: 'float32' | 'bfloat16';
  int8: Record<'codes' | 'absmax' | 'values', string>;
  nf4: Record<'codes' | 'absmax' | 'absmaxCodes' | 'values', string> & { offset: number };
}[] = JSON.parse(readFileSync(new URL('../fixtures/quantized.json', import.meta.url), 'utf8'));

/** Numbers in [-1, 1). */
function floats(n: number, seed: number): Float32Array {
  let state = seed * 2654435761;
  return Float32Array.from({ length: n }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >> 7) * 2 ** -24;
  });
}

/** Products of two of them, of which the second block is zero. */
function weightsOf({ n, dtype }: Pick<(typeof cases)[0], 'n' | 'dtype'>): tf.Variable {
  const [a, b] = [floats(n, 1), floats(n, 2)];
  const weight = tf.variable(tf.tensor1d(a.map((x, i) => (i >= 64 && i < 128 ? 0 : x * b[i]))));
  if (dtype === 'bfloat16') {
    k.storeAsBfloat16(weight);
    weight.assign(tf.tensor1d(weight.dataSync()));
  }
  return weight;
}

const bytes = (array: ArrayBufferView) =>
  Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString('base64');

describe.each(addon.instructionSets())('on %s', (instructionSet) => {
  it.each(cases)(
    '$n numbers of $dtype have the codes and values of bitsandbytes',
    ({ int8, nf4, ...source }) => {
      addon.setInstructionSet(instructionSet);
      for (const format of k.quantizedFormats) {
        const weight = weightsOf(source);
        k.storeQuantized(weight, format);
        expect(k.quantizedFormat(weight)).toBe(format);
        const stored = nativeBackend()!.stored(weight) as Uint8Array;
        const parts = (...lengths: number[]) => {
          let from = 16;
          return lengths.map((length) => {
            from += length;
            return bytes(stored.subarray(from - length, from));
          });
        };
        const blocks = Math.ceil(source.n / 64);
        const last = bytes(weight.dataSync().slice(-200));
        if (format === 'int8') {
          const [absmax, codes] = parts(4 * blocks, source.n);
          expect({ absmax, codes, values: last }).toEqual(int8);
          continue;
        }
        const sizes = [4 * Math.ceil(blocks / 256), blocks, Math.ceil(source.n / 2)];
        const [absmax, absmaxCodes, codes] = parts(...sizes);
        const offset = new DataView(stored.buffer).getFloat32(4, true);
        expect({ absmax, absmaxCodes, codes, offset, values: last }).toEqual(nf4);
        expect(stored.length).toBe(k.quantizedBytes(source.n, format));
      }
    },
  );
});

/** NF4's numbers, QLoRA appendix E. */
const NF4 = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
  -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725,
  0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
];

/** The definition in plain ops, in which NF4 has absmax in float32. */
function roundedReference(weight: tf.Tensor, format: k.QuantizedFormat): tf.Tensor {
  const blocks = tf.pad(weight.flatten(), [[0, -weight.size & 63]]).reshape([-1, 64]);
  const absmax = tf.max(tf.abs(blocks), 1, true);
  const units = tf.divNoNan(blocks, absmax);
  if (format === 'int8') return tf.round(units.mul(127)).div(127).mul(absmax).flatten().slice(0, weight.size);
  const distance = tf.abs(units.expandDims(2).sub(tf.tensor1d(NF4)));
  const nearest = tf.gather(tf.tensor1d(NF4), tf.argMin(distance, 2));
  return nearest.mul(absmax).flatten().slice(0, weight.size);
}

test.each(k.quantizedFormats)('%s is the nearest code of its block', (format) => {
  for (const shape of [[1], [63], [3, 64], [7, 301], [130, 200]]) {
    tf.tidy(() => {
      const weight = tf.variable(tf.randomNormal(shape, 0, 0.02, 'float32', shape.length));
      const [want, absmax] = [roundedReference(weight, format), tf.max(tf.abs(weight)).dataSync()[0]];
      k.storeQuantized(weight, format);
      const error = tf.max(tf.abs(tf.sub(weight.flatten(), want))).dataSync()[0];
      // NF4's absmax are rounded too.
      expect(error).toBeLessThan(format === 'int8' ? 1e-6 * absmax : 0.02 * absmax);
      weight.dispose();
    });
  }
});

it('passes through other ops, frees its memory, and is float32 after an assignment', async () => {
  const start = nativeBackend()!.pool.memory().liveBytes;
  await expectNoLeaks(() => {
    const weight = tf.tidy(() => tf.variable(tf.randomNormal([40, 50], 0, 1, 'float32', 7), false));
    k.storeQuantized(weight, 'nf4');
    const values = weight.dataSync();
    tf.tidy(() => {
      const plain = tf.tensor(values, [40, 50]);
      for (const op of [tf.transpose, tf.square, (x: tf.Tensor) => x.slice([3], [2])]) {
        expect(op(weight as tf.Tensor).dataSync()).toEqual(op(plain).dataSync());
      }
      expect(() =>
        k.adamW({
          ...{ parameter: weight, gradient: plain, firstMoment: weight, secondMoment: weight },
          ...{ learningRate: 1, beta1: 0, beta2: 0, epsilon: 1, weightDecay: 0, step: 1, gradientScale: 1 },
        }),
      ).toThrow('adamW: the parameter is stored as nf4');
      weight.assign(plain.clone());
    });
    expect(k.quantizedFormat(weight)).toBeUndefined();
    weight.dispose();
  });
  expect(nativeBackend()!.pool.memory().liveBytes).toBe(start);
});

it('refuses bytes of other sizes, and other backends', async () => {
  const weight = tf.variable(tf.ones([64]));
  k.storeQuantized(weight, 'int8');
  const x = nativeBackend()!.stored(weight) as Uint8Array;
  const y = new Float32Array(70);
  expect(() => addon.dequantize({ n: 65, x, y })).toThrow('x: not 65 quantised numbers');
  expect(() => addon.dequantize({ n: 64, x: x.subarray(0, 83), y })).toThrow(
    'x: got 83 elements, expected at least 84',
  );
  expect(() => addon.dequantize({ n: 64, x: x.subarray(1), y })).toThrow('not 64 quantised numbers');
  await k.setBackend('cpu');
  const other = tf.variable(tf.ones([64]));
  expect(() => k.storeQuantized(other, 'int8')).toThrow(
    "storeQuantized: needs the native backend, got 'cpu'",
  );
  expect(k.quantizedFormat(other)).toBeUndefined();
  await k.setBackend('native');
});
