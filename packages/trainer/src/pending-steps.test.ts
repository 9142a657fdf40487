import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { PendingSteps, type ReadStep } from './pending-steps.ts';

beforeAll(() => tf.setBackend('cpu'));

/** A run of steps that take so many milliseconds each: what each of them saw, and how often the device was read. */
async function run(steps: number, milliseconds: number) {
  let now = 0;
  const pending = new PendingSteps(() => now);
  const reads = vi.spyOn(tf.backend(), 'read');
  const seen: ReadStep[][] = [];
  for (let step = 1; step <= steps; step++) {
    const started = now;
    now += milliseconds;
    const values = tf.tensor1d([step, 2 * step, 0.5, 0.25, 9, 16]);
    pending.push(
      { step, tokens: 10 * step, stepTokens: 10, lr: 0.1, count: 5, values, numLosses: 2, numZLosses: 2 },
      started,
    );
    seen.push(await pending.take());
  }
  const rest = await pending.settle();
  pending.dispose();
  const count = reads.mock.calls.length;
  reads.mockRestore();
  return { seen, rest, reads: count };
}

describe('PendingSteps', () => {
  it('reads each long step while the next one runs', async () => {
    const before = tf.memory().numTensors;
    const { seen, rest, reads } = await run(6, 1000);
    expect(seen.map((steps) => steps.map(({ step }) => step))).toEqual([[], [1], [2], [3], [4], [5]]);
    expect(rest.map(({ step }) => step)).toEqual([6]);
    expect(reads).toBe(6);
    expect(seen[3][0]).toMatchObject({
      tokens: 30,
      loss: 8.25,
      zLoss: 0.75,
      squaredNorm: 25,
      tokensPerSecond: 10,
    });
    expect(tf.memory().numTensors).toBe(before);
  });

  it('reads many short steps at once, in their order, each with its own numbers', async () => {
    const { seen, rest, reads } = await run(100, 10);
    const all = [...seen.flat(), ...rest];
    expect(all.map(({ step, loss }) => [step, loss])).toEqual(
      Array.from({ length: 100 }, (_, i) => [i + 1, 3 * (i + 1) - 0.75]),
    );
    expect(reads).toBe(12);
    expect(Math.max(...seen.map((steps) => steps.length))).toBe(16);
  });

  it('passes on why the device could not be read', async () => {
    const pending = new PendingSteps();
    const values = tf.tensor1d([1, 1]);
    vi.spyOn(values, 'data').mockRejectedValue(new Error('lost'));
    pending.push(
      { step: 1, tokens: 1, stepTokens: 1, lr: 0, count: 1, values, numLosses: 1, numZLosses: 0 },
      0,
    );
    await pending.take();
    await expect(pending.settle()).rejects.toThrow('lost');
  });
});
