import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { customGradient } from './custom-gradient.ts';
import { setBackend } from './index.ts';

/** x², whose gradient counts the tensors alive while it runs. */
function square(x: tf.Tensor, alive: number[] = []): tf.Tensor {
  return customGradient([x], ([x], save) => {
    save([x]);
    return {
      value: tf.square(x),
      gradient: (dy, [x]) => {
        alive.push(tf.memory().numTensors);
        return tf.mul(dy, tf.mul(x, 2));
      },
    };
  });
}

describe('customGradient', () => {
  it('frees tensors as soon as the backward pass has used them', async () => {
    await setBackend('native');
    const alive: number[] = [];
    const chain = (x: tf.Tensor) => {
      let y = x;
      for (let i = 0; i < 10; i++) y = square(y, alive);
      return tf.sum(y);
    };
    const x = tf.tensor1d([1.01, 0.99]);
    const before = tf.memory().numTensors;
    const gradient = tf.grad(chain)(x);
    // d(x^1024)/dx
    const want = [1.01, 0.99].map((value) => 1024 * value ** 1023);
    gradient.dataSync().forEach((value, i) => void expect(value / want[i]).toBeCloseTo(1, 3));
    expect(alive).toHaveLength(10);
    // Each step frees the saved input and the gradient that came in, and leaves one gradient.
    for (let i = 2; i < alive.length; i++) expect(alive[i]).toBeLessThan(alive[i - 1]);
    gradient.dispose();
    expect(tf.memory().numTensors).toBe(before);
    x.dispose();
  });

  it("leaves the caller's own tensors alone, and second derivatives possible", async () => {
    await setBackend('native');
    const x = tf.tensor1d([3]);
    const dy = tf.tensor1d([5]);
    expect(
      tf
        .grad((x) => square(x))(x, dy)
        .dataSync()[0],
    ).toBe(30);
    expect(dy.dataSync()[0]).toBe(5);
    expect(x.dataSync()[0]).toBe(3);
    const second = tf.grad((x) => tf.grad((x) => square(square(x)))(x));
    expect(second(x).dataSync()[0]).toBeCloseTo(12 * 9, 3);
  });
});
