import { expectNoLeaks } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { afterAll, describe, expect, it } from 'vitest';
import { dropout, setBackend } from './index.ts';
import { loadNativeAddon } from './native-addon.ts';

const addon = loadNativeAddon();
const best = addon.instructionSet();
afterAll(() => addon.setInstructionSet(best));

/** Value of dropout of a ramp, and its gradient under weights that differ. */
async function evaluate(backend: 'native' | 'cpu', shape: number[], rate: number): Promise<number[][]> {
  await setBackend(backend);
  const rowKeys = Int32Array.from({ length: 2 * shape[0] }, (_, i) => Math.imul(i + 1, 0x9e3779b9));
  return tf.tidy(() => {
    const size = tf.util.sizeFromShape(shape);
    const x = tf.tensor(
      Float32Array.from({ length: size }, (_, i) => i + 1),
      shape,
    );
    const weights = tf.tensor(
      Float32Array.from({ length: size }, (_, i) => 1 - i),
      shape,
    );
    const { value, grad } = tf.valueAndGrad((x: tf.Tensor) =>
      tf.sum(tf.mul(dropout(x, rate, rowKeys), weights)),
    )(x);
    return [dropout(x, rate, rowKeys), grad, value].map((tensor) => [...tensor.dataSync()]);
  });
}

describe('dropout', () => {
  // Sizes that fill neither a draw of four, nor vectors of draws, nor a task of 16,384.
  it.each(addon.instructionSets())('on %s has the bits of the reference', async (instructionSet) => {
    for (const shape of [
      [1, 1],
      [3, 2, 5],
      [2, 63],
      [5, 64],
      [2, 9, 1823],
    ]) {
      for (const rate of [0, 0.1, 0.5]) {
        const [value, gradient] = await evaluate('cpu', shape, rate);
        addon.setInstructionSet(instructionSet);
        const [fast, fastGradient] = await evaluate('native', shape, rate);
        expect(fast).toEqual(value);
        expect(fastGradient).toEqual(gradient);
      }
    }
  });

  it.each(['native', 'cpu'] as const)(
    'on %s drops the same elements in the backward pass',
    async (backend) => {
      const [value, gradient] = await evaluate(backend, [2, 500], 0.3);
      const dropped = value.filter((x) => x === 0).length;
      expect(Math.abs(dropped - 300)).toBeLessThan(5 * Math.sqrt(1000 * 0.3 * 0.7));
      // The weight at element 1 is 0.
      expect(gradient.map((x, i) => x !== 0 || i === 1)).toEqual(value.map((x, i) => x !== 0 || i === 1));
    },
  );

  it('saves nothing for the backward pass', async () => {
    await setBackend('native');
    const x = tf.ones([1, 1000]);
    const keys = Int32Array.of(1, 2);
    await expectNoLeaks(() =>
      tf.tidy(() =>
        tf
          .grad((x: tf.Tensor) => dropout(x, 0.5, keys))(x)
          .dataSync(),
      ),
    );
    const before = tf.memory().numBytes;
    tf.tidy(() =>
      tf.grad((x: tf.Tensor) => {
        const held = () => tf.memory().numBytes - before;
        const y = dropout(x, 0.5, keys);
        // The output alone.
        expect(held()).toBe(4000);
        return y;
      })(x),
    );
    x.dispose();
  });

  it('refuses a rate or keys that do not fit', async () => {
    await setBackend('native');
    const x = tf.ones([2, 3]);
    for (const rate of [-0.1, 1, Number.NaN])
      expect(() => dropout(x, rate, new Int32Array(4))).toThrow(`got ${rate}`);
    expect(() => dropout(x, 0.5, new Int32Array(2))).toThrow(
      'got 2 words of keys, expected two for each of 2 rows',
    );
    x.dispose();
  });
});
