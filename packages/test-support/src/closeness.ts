import type * as tf from '@tensorflow/tfjs';

/** Allowed difference: absolute + relative · the largest expected magnitude. */
export interface Tolerance {
  absolute?: number;
  relative?: number;
}

/**
 * Throws unless two tensors (or arrays) have the same shape and dtype and all values are close; NaN is never close.
 *
 * Relative to the largest expected magnitude, since errors of sums do not scale with the single element.
 */
export function expectClose(
  actual: tf.Tensor | ArrayLike<number>,
  expected: tf.Tensor | ArrayLike<number>,
  { absolute = 0, relative = 1e-5 }: Tolerance = {},
): void {
  if ('dataSync' in actual && 'dataSync' in expected) {
    const [got, want] = [actual, expected].map(({ shape, dtype }) => `${dtype}[${shape}]`);
    if (got !== want) throw new Error(`expectClose: got ${got}, expected ${want}`);
  }
  const got = 'dataSync' in actual ? actual.dataSync() : actual;
  const want = 'dataSync' in expected ? expected.dataSync() : expected;
  if (got.length !== want.length) {
    throw new Error(`expectClose: got ${got.length} values, expected ${want.length}`);
  }
  let magnitude = 0;
  for (let i = 0; i < want.length; i++) magnitude = Math.max(magnitude, Math.abs(want[i]));
  const allowed = absolute + relative * magnitude;
  for (let i = 0; i < want.length; i++) {
    if (!(Math.abs(got[i] - want[i]) <= allowed)) {
      throw new Error(
        `expectClose: value ${i} is ${got[i]}, expected ${want[i]}, difference ${Math.abs(got[i] - want[i])}, allowed ${allowed}`,
      );
    }
  }
}
