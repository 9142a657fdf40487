/** Weights stored as bfloat16, and quantised ones, give to the bit what their rounded values give in float32. */
import { expectNoLeaks } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as k from './index.ts';
import { loadNativeAddon } from './native-addon.ts';
import { nativeBackend } from './native-interface.ts';

const addon = loadNativeAddon();
const best = addon.instructionSet();
afterAll(() => addon.setInstructionSet(best));

const random = <T extends tf.Tensor>(shape: number[], seed: number) =>
  tf.randomNormal(shape, 0, 1, 'float32', seed) as T;

function rounded(values: ArrayLike<number>): Float32Array {
  const bits = new Uint32Array(Float32Array.from(values).buffer);
  return new Float32Array(bits.map((x) => (x + 0x7fff + ((x >>> 16) & 1)) & 0xffff0000).buffer);
}

/** The same weight twice: its rounded values as float32, and stored in fewer bits. */
function pair(
  shape: [number, number],
  seed: number,
  storage: 'bfloat16' | k.QuantizedFormat = 'bfloat16',
): [full: tf.Tensor2D, stored: tf.Tensor2D] {
  const values = random(shape, seed).dataSync();
  const stored = tf.variable(tf.tensor(values, shape), false);
  if (storage === 'bfloat16') k.storeAsBfloat16(stored);
  else k.storeQuantized(stored, storage);
  const full = storage === 'bfloat16' ? rounded(values) : stored.dataSync();
  return [tf.tensor(full, shape), stored as tf.Tensor as tf.Tensor2D];
}

beforeAll(() => k.setBackend('native'));

describe.each(addon.instructionSets())('on %s', (instructionSet) => {
  it.each([
    ['bfloat16', 'float32'],
    ['bfloat16', 'bfloat16'],
    ['int8', 'float32'],
    ['int8', 'bfloat16'],
    ['nf4', 'float32'],
    ['nf4', 'bfloat16'],
  ] as const)('products, embedding and loss with weights in %s, precision %s', (storage, precision) => {
    addon.setInstructionSet(instructionSet);
    k.setPrecision(precision);
    for (const [O, I, N] of [
      [70, 301, 50],
      [33, 64, 1],
      [18, 192, 1],
      [1000, 35, 3],
      [5, 7, 200],
      [40, 1601, 13],
    ]) {
      const [full, stored] = pair([O, I], 1, storage);
      const x_NI = random<tf.Tensor2D>([N, I], 2);
      const x_NO = random<tf.Tensor2D>([N, O], 3);
      const ids = tf.tensor1d(
        Array.from({ length: N }, (_, i) => (i * 7) % O),
        'int32',
      );
      const results = (weight: tf.Tensor2D) => {
        const { logProbabilities, greedyIds } = k.scoreTokens(x_NI, weight, ids);
        const loss = (x: tf.Tensor) =>
          k.linearCrossEntropy(x as tf.Tensor2D, weight, ids, undefined, { frozenWeight: true });
        const { value, grad } = tf.valueAndGrad(loss)(x_NI);
        const tensors = [
          k.linear(x_NI, weight),
          tf.matMul(x_NO, weight),
          tf.grad((x) => tf.sum(tf.square(k.linear(x, weight))))(x_NI),
          k.embedding(ids, weight),
          logProbabilities,
          greedyIds,
          value,
          grad,
        ];
        return tensors.map((tensor) => tensor.dataSync());
      };
      const [got, want] = [results(stored), results(full)];
      if (N > 1 || storage !== 'int8' || precision !== 'float32') {
        expect(got).toEqual(want);
        continue;
      }
      // One row scales the sums of blocks instead of each value.
      for (const [i, values] of got.entries()) {
        const largest = Math.max(...want[i].map(Math.abs));
        for (const [j, value] of values.entries())
          expect(Math.abs(value - want[i][j])).toBeLessThanOrEqual(2e-6 * largest);
      }
    }
    k.setPrecision('float32');
  });
});

describe('a weight stored as bfloat16', () => {
  it('holds half the bytes and reads as its rounded values', () => {
    const values = Float32Array.of(
      1,
      1.00390625,
      1.01171875,
      -7.3,
      1e-40,
      Number.POSITIVE_INFINITY,
      Number.NaN,
    );
    const weight = tf.variable(tf.tensor1d(values), false);
    k.storeAsBfloat16(weight);
    expect(k.isStoredAsBfloat16(weight)).toBe(true);
    expect(nativeBackend()!.stored(weight).byteLength).toBe(2 * values.length);
    expect(weight.dataSync().slice(0, 6)).toEqual(rounded(values).slice(0, 6));
    expect(weight.dataSync()[6]).toBeNaN();
  });

  it('can be written in place', () => {
    const [, stored] = pair([5, 9], 8);
    const bits = k.bfloat16Bits(stored)!;
    const again = k.bfloat16Variable([5, 9]);
    k.bfloat16Bits(again)!.set(bits);
    expect(again.dataSync()).toEqual(stored.dataSync());
    expect(again.shape).toEqual([5, 9]);
    expect(k.bfloat16Bits(tf.ones([2]))).toBeUndefined();
  });

  it('passes through ops that do not support it', () => {
    const [full, stored] = pair([6, 9], 4);
    const all = (w: tf.Tensor2D) => [
      tf.add(w, 1),
      tf.mul(w, w),
      tf.mul(w, 3),
      tf.concat([w, w]),
      w.slice([1], [2]),
      tf.transpose(w),
      tf.matMul(w, random<tf.Tensor2D>([9, 2], 5)),
      w.reshape([54]),
      w.clone(),
      tf.gather(w, tf.tensor1d([2, 0], 'int32')),
      k.rmsNorm(random([3, 54], 6), w.reshape([54]), 1e-5),
    ];
    const read = (tensors: tf.Tensor[]) => tensors.map((tensor) => tensor.dataSync());
    expect(read(all(stored))).toEqual(read(all(full)));
  });

  it('frees its memory and leaks no tensors', async () => {
    const start = nativeBackend()!.pool.memory().liveBytes;
    await expectNoLeaks(() => {
      const weight = tf.tidy(() => tf.variable(random([40, 50], 7), false));
      k.storeAsBfloat16(weight);
      tf.dispose([tf.add(weight, 1), weight]);
    });
    expect(nativeBackend()!.pool.memory().liveBytes).toBe(start);
  });

  it('is float32 again after an assignment, and not trained', () => {
    const weight = tf.variable(random([4], 1));
    k.storeAsBfloat16(weight);
    const moment = () => tf.variable(tf.zeros([4]));
    const [firstMoment, secondMoment, gradient] = [moment(), moment(), tf.ones([4])];
    const hyper = {
      learningRate: 1,
      beta1: 0.9,
      beta2: 0.9,
      epsilon: 1,
      weightDecay: 0,
      step: 1,
      gradientScale: 1,
    };
    expect(() => k.adamW({ parameter: weight, gradient, firstMoment, secondMoment, ...hyper })).toThrow(
      'adamW: the parameter is stored as bfloat16',
    );
    weight.assign(tf.ones([4]));
    expect(k.isStoredAsBfloat16(weight)).toBe(false);
  });

  it('is refused on other backends', async () => {
    await k.setBackend('cpu');
    const weight = tf.variable(tf.ones([4]));
    expect(() => k.storeAsBfloat16(weight)).toThrow("storeAsBfloat16: needs the native backend, got 'cpu'");
    expect(() => k.bfloat16Variable([4])).toThrow('bfloat16Variable: needs the native backend');
    expect(k.isStoredAsBfloat16(weight)).toBe(false);
    await k.setBackend('native');
  });
});
