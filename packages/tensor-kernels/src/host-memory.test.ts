import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { setBackend } from './backend.ts';
import { storeAsBfloat16 } from './bfloat16-storage.ts';
import { copyInto, memoryOf, overwrite, stageVector } from './host-memory.ts';

it.each(['cpu', 'native'] as const)('copies numbers to their destination on %s', async (backend) => {
  await setBackend(backend);
  const target = new Float32Array(5).fill(9);
  const tensor = tf.tensor2d([1, 2, 3, 4], [2, 2]);
  const sum = tf.add(tensor, 1);
  await copyInto(sum, target.subarray(1));
  expect([...target]).toEqual([9, 2, 3, 4, 5]);
  const part = tf.slice(sum, [1, 0], [1, 2]);
  await copyInto(part, target);
  expect([...target]).toEqual([4, 5, 3, 4, 5]);
  if (backend === 'native') {
    const stored = tf.variable(tensor);
    storeAsBfloat16(stored);
    await copyInto(stored, target);
    expect([...target]).toEqual([1, 2, 3, 4, 5]);
    stored.dispose();
  }
  tf.dispose([tensor, sum, part]);
});

it.each(['cpu', 'native'] as const)(
  'overwrites a variable, and keeps nothing of the array, on %s',
  async (backend) => {
    await setBackend(backend);
    const variable = tf.tidy(() => tf.variable(tf.add(tf.ones([2, 2]), 0)));
    const values = Float32Array.of(5, 6, 7, 8);
    overwrite(variable, values);
    values.fill(0);
    expect([...variable.dataSync()]).toEqual([5, 6, 7, 8]);
    variable.dispose();
  },
);

it.each(['cpu', 'native'] as const)(
  'makes tensors of vectors written from outside on %s',
  async (backend) => {
    await setBackend(backend);
    const before = tf.memory().numTensors;
    stageVector(3).dispose();
    const staged = stageVector(3);
    staged.values.set([1, 2, 3]);
    const tensor = staged.toTensor();
    expect([...tensor.dataSync()]).toEqual([1, 2, 3]);
    const memory = memoryOf(tensor);
    expect(memory).toEqual(backend === 'native' ? staged.values : undefined);
    if (memory) {
      // A view, not a copy: what is written is in the tensor and in those that share its memory.
      const part = tf.slice(tensor, 1, 2);
      memory[2] = 7;
      expect([...part.dataSync()]).toEqual([2, 7]);
      part.dispose();
    }
    tensor.dispose();
    expect(tf.memory().numTensors).toBe(before);
  },
);

it('has no float32 memory of what is stored as bfloat16', async () => {
  await setBackend('native');
  const stored = tf.variable(tf.ones([4]));
  storeAsBfloat16(stored);
  expect(memoryOf(stored)).toBeUndefined();
  stored.dispose();
});
