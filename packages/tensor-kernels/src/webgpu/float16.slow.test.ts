/** Half precision in matrix products, on an adapter that has it. */
import { expectClose } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BackendError, linearCrossEntropy, setBackend, setPrecision } from '../index.ts';
import { evaluate, type Input, integers, random, tensorOf, whyMissing } from '../testing.ts';
import { webgpuBackend } from './backend.ts';

const missing = await whyMissing('webgpu');
const hasFloat16 = webgpuBackend()?.gpu.hasFloat16 ?? false;
if (!missing && !hasFloat16) console.warn('not tested in float16: this adapter lacks shader-f16');

/** To the nearest half, ties to even, by scaling so that float64 rounds where a half does. */
function toHalf(x: number): number {
  const exponent = Math.max(Math.floor(Math.log2(Math.abs(x) || 1)), -14) - 10;
  const scaled = x / 2 ** exponent;
  const down = Math.floor(scaled);
  const isUp = scaled - down > 0.5 || (scaled - down === 0.5 && down % 2 !== 0);
  return (isUp ? down + 1 : down) * 2 ** exponent;
}
const halves = ({ values, shape }: Input): Input => ({ values: Float32Array.from(values, toHalf), shape });

it.skipIf(missing || hasFloat16)(
  'float16 is refused, with what to use instead, where there is none',
  async () => {
    await setBackend('webgpu');
    expect(() => setPrecision('float16')).toThrow(BackendError);
    expect(() => setPrecision('float16')).toThrow(
      /shader-f16, got the GPU '.+', which lacks it; use bfloat16/,
    );
  },
);

it('float16 is refused on a processor', async () => {
  await setBackend('cpu');
  expect(() => setPrecision('float16')).toThrow(/needs the webgpu backend .*got the backend 'cpu'/);
});

describe.skipIf(!hasFloat16)('float16 on webgpu', () => {
  beforeEach(async () => {
    await setBackend('webgpu');
    setPrecision('float16');
  });
  afterEach(async () => {
    await setBackend('webgpu');
    setPrecision('float32');
  });

  it.each([
    [1, 1, 1],
    [13, 33, 129],
    [4, 132, 72],
    [97, 70, 67],
    [132, 36, 68],
    [9, 4100, 8],
    [1410, 8, 1420],
  ])('products [%i,%i]·[%i] are those of rounded inputs, summed in float32', async (M, K, N) => {
    for (const transposeA of [false, true]) {
      for (const transposeB of [false, true]) {
        const a = random(transposeA ? [K, M] : [M, K], 1);
        const b = random(transposeB ? [N, K] : [K, N], 2);
        const product = (a: Input, b: Input) => tf.matMul(tensorOf(a), tensorOf(b), transposeA, transposeB);
        await setBackend('webgpu');
        const got = await product(a, b).data();
        await setBackend('native');
        expectClose(got, await product(halves(a), halves(b)).data(), { relative: 3e-6, absolute: 1e-6 });
      }
    }
  });

  it('uses matrix units if there are any', async () => {
    const { gpu, pipelines } = webgpuBackend()!;
    await tf.matMul(tf.ones([40, 8]), tf.ones([8, 8])).data();
    const used = [...pipelines.keys()].some((key) => key.startsWith('SubgroupMatMul'));
    expect(used).toBe(gpu.subgroupMatrix !== undefined);
  });

  it('a number beyond the largest float16 becomes infinite, so that a step shows the overflow', async () => {
    const product = tf.matMul(tf.tensor2d([[70_000, 0]]), tf.ones([2, 2]));
    const values = await product.data();
    expect([...values].some(Number.isFinite)).toBe(false);
    product.dispose();
  });

  it('gradients of logits survive that float16 would round to zero', async () => {
    // Targets are all but certain: every gradient is below 3e-8.
    const [N, V, C] = [40, 24, 8];
    const targets = integers([N], (i) => i % C);
    const x: Input = {
      values: Float32Array.from({ length: N * C }, (_, i) =>
        i % C === targets.values[Math.floor(i / C)] ? 20 : 0,
      ),
      shape: [N, C],
    };
    const weight: Input = {
      values: Float32Array.from({ length: V * C }, (_, i) => (Math.floor(i / C) === i % C ? 1 : 0)),
      shape: [V, C],
    };
    const run = (a: tf.Tensor, b: tf.Tensor) =>
      linearCrossEntropy(a as tf.Tensor2D, b as tf.Tensor2D, tensorOf(targets) as tf.Tensor1D);
    const half = await evaluate('webgpu', run, [x, weight]);
    setPrecision('float32');
    const full = await evaluate('webgpu', run, [x, weight]);
    for (const [i, values] of full.entries()) expectClose(half[i], values, { relative: 2e-2 });
    expect(Math.max(...full[1].map(Math.abs))).toBeLessThan(1e-6);
  });
});
