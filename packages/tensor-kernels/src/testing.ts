/** Helpers of the tests of several backends; not part of the build. */
import * as tf from '@tensorflow/tfjs-core';
import { type BackendName, setBackend } from './index.ts';

/** Returns why a backend cannot be tested here; undefined if it can. */
export async function whyMissing(backend: BackendName): Promise<string | undefined> {
  const why = await setBackend(backend).then(
    () => undefined,
    (error: Error) => error.message,
  );
  if (why) console.warn(`not tested on ${backend}: ${why}`);
  return why;
}

/** Values and shape of an argument, independent of the backend. */
export interface Input {
  values: tf.TypedArray;
  shape: number[];
}

/** Normally distributed numbers, a function of the seed. */
export function random(shape: number[], seed: number): Input {
  const random = tf.util.sizeFromShape(shape);
  // Not tf.randomNormal, which would leave the values on the device.
  let state = seed * 2654435761 + 12345;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return ((state >>> 8) + 0.5) / 2 ** 24;
  };
  const normal = () => Math.sqrt(-2 * Math.log(next())) * Math.cos(2 * Math.PI * next());
  return { values: Float32Array.from({ length: random }, normal), shape };
}

export function integers(shape: number[], f: (i: number) => number): Input {
  return { values: Int32Array.from({ length: tf.util.sizeFromShape(shape) }, (_, i) => f(i)), shape };
}

export const tensorOf = ({ values, shape }: Input): tf.Tensor =>
  tf.tensor(values.slice(), shape, values instanceof Int32Array ? 'int32' : 'float32');

/**
 * Returns a function's value, and the gradients of its product with fixed random weights, as arrays.
 *
 * @param isRecorded whether the value too is one that the tape recorded; by default it is computed once more without
 */
export async function evaluate(
  backend: BackendName,
  f: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: Input[],
  isRecorded = false,
): Promise<Float32Array[]> {
  await tf.setBackend(backend);
  const tensors = tf.tidy(() => {
    const given = inputs.map(tensorOf);
    let value = isRecorded ? undefined : f(...given);
    const gradients = tf.grads((...x) => {
      const recorded = f(...x);
      value ??= tf.keep(tf.clone(recorded));
      return tf.sum(tf.mul(recorded, tensorOf(random(recorded.shape, 77))));
    })(given);
    return [value!, ...gradients];
  });
  const arrays = await Promise.all(tensors.map((tensor) => tensor.data()));
  tf.dispose(tensors);
  return arrays as Float32Array[];
}
