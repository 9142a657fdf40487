import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { checkGradients, checkVariableGradients, expectClose, expectNoLeaks, startProcess } from './index.ts';

beforeAll(() => tf.setBackend('cpu'));

describe('expectClose', () => {
  it('accepts small differences and rejects large ones, NaN and other shapes', () => {
    expect(() => expectClose(tf.tensor([1, 2]), tf.tensor([1, 2.000001]))).not.toThrow();
    expect(() => expectClose(tf.tensor([1, 2]), tf.tensor([1, 2.1]))).toThrow('value 1');
    expect(() => expectClose(tf.tensor([1, Number.NaN]), tf.tensor([1, 2]))).toThrow('NaN');
    expect(() => expectClose(tf.tensor([1, 2]), tf.tensor([[1, 2]]))).toThrow('float32[1,2]');
    expect(() => expectClose([1], [1, 2])).toThrow('2');
  });
});

describe('checkGradients', () => {
  it('tells a right gradient from a wrong one', () => {
    const x = tf.tensor([0.3, -0.7, 1.1]);
    expect(() => checkGradients((x) => tf.sum(tf.exp(x)), [x])).not.toThrow();
    const wrong = tf.customGrad((x) => ({
      value: tf.sum(tf.exp(x as tf.Tensor)),
      gradFunc: (dy) => tf.mul(dy as tf.Tensor, tf.exp(x as tf.Tensor)).mul(1.05),
    }));
    expect(() => checkGradients((x) => wrong(x) as tf.Scalar, [x])).toThrow('central difference');
  });
});

describe('expectNoLeaks', () => {
  it('names the tensors that stay', async () => {
    await expect(expectNoLeaks(() => tf.tidy(() => void tf.ones([2])))).resolves.toBeUndefined();
    await expect(expectNoLeaks(() => tf.ones([2]), { repeats: 3 })).rejects.toThrow('3 tensors');
  });
});

it('checkVariableGradients compares with the loss and keeps the variables', () => {
  const x = tf.variable(tf.tensor1d([1, 2, 3]));
  checkVariableGradients(() => tf.sum(tf.square(x)), [x]);
  expect([...x.dataSync()]).toEqual([1, 2, 3]);
  const wrong = tf.customGrad((x) => ({
    value: tf.sum(tf.square(x as tf.Tensor)),
    gradFunc: () => tf.onesLike(x as tf.Tensor),
  }));
  expect(() => checkVariableGradients(() => wrong(x), [x])).toThrow('checkVariableGradients: got norm');
  x.dispose();
});

it('startProcess collects output and tells how a program ends', async () => {
  const script = "console.log('begun'); setTimeout(() => {}, 60_000)";
  const { child, output, ended, until } = startProcess(process.execPath, ['-e', script]);
  await until(() => output.stdout === 'begun\n');
  child.kill('SIGKILL');
  expect(await ended).toBe('SIGKILL');
  await until(() => false);
});
