import { describe, expect, it } from 'vitest';
import { Refusals } from './parse-config.ts';
import { checkBatchKeys, checkKeepBest, warmupSteps } from './training-keys.ts';

describe('checkBatchKeys', () => {
  const good = { global_batch_size: 12, learning_rate: 1, min_learning_rate: 0.5 };

  it('takes the whole step as a micro-batch unless told otherwise', () => {
    const refusals = new Refusals();
    expect(checkBatchKeys(good, refusals)).toBe(12);
    expect(checkBatchKeys({ ...good, micro_batch_size: 4 }, refusals)).toBe(4);
    expect(refusals.problems).toEqual([]);
  });

  it('refuses micro-batches that do not make up a step, and a rate that rises', () => {
    const refusals = new Refusals();
    checkBatchKeys({ ...good, micro_batch_size: 5, min_learning_rate: 2 }, refusals);
    expect(refusals.problems).toEqual([
      'train.micro_batch_size: got 5, expected a divisor of global_batch_size 12',
      'train.min_learning_rate: got 2, expected at most learning_rate 1',
    ]);
  });
});

describe('checkKeepBest', () => {
  it('wants a validation at every checkpoint, where the best is to stay', () => {
    const refusals = new Refusals();
    checkKeepBest({ every: 150, keep_best: false }, { every: 100 }, refusals);
    checkKeepBest({ every: 200, keep_best: true }, { every: 100 }, refusals);
    expect(refusals.problems).toEqual([]);
    checkKeepBest({ every: 150, keep_best: true }, { every: 100 }, refusals);
    expect(refusals.problems).toEqual([
      'checkpoint.every: got 150, expected a multiple of validation.every 100, with checkpoint.keep_best',
    ]);
  });
});

describe('warmupSteps', () => {
  it('rounds down, and takes a product just short of a whole number for whole', () => {
    expect([warmupSteps(0.1, 19), warmupSteps(0.29, 100), warmupSteps(0, 5)]).toEqual([1, 29, 0]);
  });

  it.each([1, 7, 99, 640, 1907, 190_000])('is exact for all percentages of %i steps', (steps) => {
    for (let percent = 0; percent <= 100; percent++) {
      expect(warmupSteps(percent / 100, steps)).toBe(Math.floor((percent * steps) / 100));
    }
  });
});
