import { attention, linear, recompute, rmsNorm, setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tinyBatch, tinyLoss, tinyParameters } from '../fixtures/tiny-run.mjs';
import { backward } from './backward.ts';
import type { Parameters } from './types.ts';

type Gradients = Record<string, number[]>;

/** What `tf.variableGrads` gives, the oracle. */
function expected(loss: () => tf.Scalar, parameters: Parameters): { value: number; gradients: Gradients } {
  const { value, grads } = tf.variableGrads(loss, [...parameters.values()]);
  const gradients: Gradients = {};
  for (const [name, variable] of parameters) {
    if (grads[variable.name]) gradients[name] = [...grads[variable.name].dataSync()];
  }
  const [number] = value.dataSync();
  tf.dispose([value, grads]);
  return { value: number, gradients };
}

async function found(loss: () => tf.Scalar, parameters: Parameters) {
  const gradients: Gradients = {};
  const order: string[] = [];
  const value = await backward(loss, parameters, async (name, gradient) => {
    order.push(name);
    // Others may compute while this rank waits.
    await new Promise(setImmediate);
    gradients[name] = [...gradient.dataSync()];
    gradient.dispose();
  });
  const [number] = value.dataSync();
  value.dispose();
  return { value: number, gradients, order };
}

describe.each(['cpu', 'native'] as const)('backward on %s', (backend) => {
  let before: number;
  beforeEach(async () => {
    await setBackend(backend);
    before = tf.memory().numTensors;
  });
  afterEach(() => expect(tf.memory().numTensors).toBe(before));

  const compare = async (loss: () => tf.Scalar, parameters: Parameters) => {
    const { order, ...result } = await found(loss, parameters);
    expect(result).toEqual(expected(loss, parameters));
    return order;
  };

  it('returns the bits of variableGrads, in reverse order of use', async () => {
    const parameters = tinyParameters() as Parameters;
    const loss = () => tinyLoss(parameters)(tinyBatch(3)).sum as tf.Scalar;
    expect(await compare(loss, parameters)).toEqual([
      'head.weight',
      'hidden.bias',
      'hidden.weight',
      'embed.weight',
    ]);
    tf.dispose([...parameters.values()]);
  });

  it('adds the gradients of a parameter that is used several times', async () => {
    const shape: [number, number] = [3, 3];
    const ops = ['matMul', 'add', 'mulSelf', 'tanh', 'reshape'] as const;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom(...ops), fc.nat(2)), { minLength: 1, maxLength: 12 }),
        async (program) => {
          const names = ['a', 'b', 'c'];
          const parameters = new Map(
            names.map((name, i) => [
              name,
              tf.tidy(() => tf.variable(tf.randomNormal(shape, 0, 0.5, 'float32', i))),
            ]),
          );
          const loss = () => {
            let x: tf.Tensor = tf.ones(shape);
            const used = [parameters.get('a')!, parameters.get('b')!, parameters.get('c')!];
            x = tf.add(x, used[0]);
            for (const [op, which] of program) {
              const w = used[which];
              if (op === 'matMul') x = tf.matMul(x as tf.Tensor2D, w as unknown as tf.Tensor2D);
              if (op === 'add') x = tf.add(x, w);
              if (op === 'mulSelf') x = tf.mul(x, x);
              if (op === 'tanh') x = tf.tanh(x);
              if (op === 'reshape') x = tf.reshape(tf.reshape(x, [9]), shape);
            }
            return tf.sum(x) as tf.Scalar;
          };
          try {
            await compare(loss, parameters);
          } finally {
            tf.dispose([...parameters.values()]);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('goes through fused ops and recomputed blocks', async () => {
    const make = (shape: number[], seed: number) =>
      tf.tidy(() => tf.variable(tf.randomNormal(shape, 0, 0.3, 'float32', seed)));
    const parameters = new Map([
      ['norm', make([16], 1)],
      ['qkv', make([48, 16], 2)],
      ['tied', make([20, 16], 3)],
    ]);
    const [norm, qkv, tied] = parameters.values();
    const ids = [3, 1, 4, 1, 5];
    const loss = () => {
      const x = tf.gather(tied, tf.tensor1d(ids, 'int32')).reshape([1, 5, 16]);
      const block = recompute(
        ([x, norm, qkv]) => {
          const [q, k, v] = tf
            .split(linear(rmsNorm(x as tf.Tensor3D, norm as tf.Tensor1D, 1e-5), qkv as tf.Tensor2D), 3, -1)
            .map((part) => part.reshape([1, 5, 2, 8]) as tf.Tensor4D);
          return tf.add(x, attention(q, k, v).reshape([1, 5, 16]));
        },
        [x, norm, qkv],
      );
      const logits = linear(block as tf.Tensor3D, tied as unknown as tf.Tensor2D);
      return tf.sum(tf.square(logits)) as tf.Scalar;
    };
    const order = await compare(loss, parameters);
    expect(order.at(-1)).toBe('tied');
    tf.dispose([...parameters.values()]);
  });

  it('leaves out parameters that the loss does not reach, and frees everything when a gradient fails', async () => {
    const parameters = tinyParameters() as Parameters;
    const loss = () => tf.sum(parameters.get('hidden.bias')!) as tf.Scalar;
    expect(await compare(loss, parameters)).toEqual(['hidden.bias']);
    const failing = tf.customGrad((x) => ({
      value: tf.sum(x as tf.Tensor),
      gradFunc: () => {
        throw new Error('no gradient today');
      },
    }));
    await expect(
      backward(
        () => failing(parameters.get('hidden.bias')!) as tf.Scalar,
        parameters,
        () => {},
      ),
    ).rejects.toThrow('no gradient today');
    tf.dispose([...parameters.values()]);
  });
});
