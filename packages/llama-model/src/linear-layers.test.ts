import { linear, setBackend } from '@meap/tensor-kernels';
import { checkGradients, expectClose } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { beforeEach, describe, expect, test } from 'vitest';
import { adaptedLinear, add, frozenLinear } from './linear-layers.ts';
import { backends } from './testing.ts';

const random = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed);
const matrix = (shape: [number, number], seed: number) => random(shape, seed) as tf.Tensor2D;
const sumOfSquares = (x: tf.Tensor) => tf.sum(tf.square(x)) as tf.Scalar;

/** Data buffers that an op of a fresh tensor leaves for the backward pass, beyond those it leaves without one. */
function buffersKept(op: (x: tf.Tensor) => tf.Tensor): number {
  const count = (start: tf.Tensor) => {
    const before = tf.memory().numDataBuffers;
    const y = tf.tidy(() => op(tf.neg(start)));
    return { y, added: tf.memory().numDataBuffers - before };
  };
  return tf.tidy(() => {
    const start = random([2, 3, 4], 1);
    const { added: withoutTape } = count(start);
    let withTape = 0;
    tf.grad((start) => {
      const { y, added } = count(start);
      withTape = added;
      return tf.sum(y);
    })(start);
    return withTape - withoutTape;
  });
}

describe.each(backends)('on %s', (backend) => {
  beforeEach(async () => {
    await setBackend(backend);
  });

  test('equal plain ops', () => {
    tf.tidy(() => {
      const [x, w, a, b] = [random([2, 3, 4], 1), matrix([5, 4], 2), matrix([2, 4], 3), matrix([5, 2], 4)];
      const bias = random([5], 5) as tf.Tensor1D;
      const plain = linear(x, w);
      expectClose(add(x, x), tf.add(x, x));
      expectClose(add(plain, bias), tf.add(plain, bias));
      expectClose(frozenLinear(x, w), plain);
      expectClose(frozenLinear(x, w, bias), tf.add(plain, bias));
      const merged = tf.add(w, tf.mul(tf.matMul(b, a), 1.5)) as tf.Tensor2D;
      const adapted = adaptedLinear(x, w, bias, { a_RI: a, b_OR: b, scaling: 1.5 });
      expectClose(adapted, tf.add(linear(x, merged), bias), { relative: 1e-5 });
    });
  });

  test('gradients are central differences', () => {
    tf.tidy(() => {
      const [x, w, a, b] = [random([2, 3, 4], 1), matrix([5, 4], 2), matrix([2, 4], 3), matrix([5, 2], 4)];
      const bias = random([5], 5) as tf.Tensor1D;
      const half = tf.tensor([1, 0, 2, 0], [4]);
      checkGradients((x, y) => sumOfSquares(add(x, y)), [x, random([2, 3, 4], 6)]);
      checkGradients((x, y) => sumOfSquares(add(x, y)), [x, random([4], 6)]);
      checkGradients((x) => sumOfSquares(frozenLinear(x, w, bias)), [x]);
      checkGradients(
        (x, a, b) => {
          const lowRank = { a_RI: a as tf.Tensor2D, b_OR: b as tf.Tensor2D, scaling: 0.7 };
          const drop = (x: tf.Tensor) => tf.mul(x, half);
          return sumOfSquares(adaptedLinear(x, w, bias, { ...lowRank, drop }));
        },
        [x, a, b],
      );
    });
  });

  test('a sum whose gradient two consumers share stays right', () => {
    tf.tidy(() => {
      const x = random([3, 4], 1);
      const f = (add: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor) => (x: tf.Tensor) => {
        const y = add(x, tf.square(x));
        return sumOfSquares(add(add(y, x), add(x, y)));
      };
      expectClose(tf.grad(f(add))(x), tf.grad(f(tf.add))(x));
    });
  });

  // On wasm every saved tensor is a copy, weights too.
  test.skipIf(backend === 'wasm')('save only what gradients need', () => {
    const [w, a, b] = [matrix([5, 4], 2), matrix([2, 4], 3), matrix([5, 2], 4)];
    expect(buffersKept((x) => linear(x, w))).toBeGreaterThan(0);
    expect(buffersKept((x) => add(x, tf.neg(x)))).toBe(0);
    expect(buffersKept((x) => frozenLinear(x, w))).toBe(0);
    // The input and the product of rank R.
    expect(buffersKept((x) => adaptedLinear(x, w, undefined, { a_RI: a, b_OR: b, scaling: 1 }))).toBe(2);
    tf.dispose([w, a, b]);
  });
});
