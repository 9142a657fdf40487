import { describe, expect, it } from 'vitest';
import { Refusals } from './parse-config.ts';
import {
  batchPlan,
  checkBatchKeys,
  checkKeepBest,
  fillBatchKeys,
  fillIntervals,
  runSeeds,
  seedFingerprint,
} from './training-keys.ts';

const good = { global_batch_size: 12 };

describe('checkBatchKeys', () => {
  it('accepts micro-batches that divide a step', () => {
    const refusals = new Refusals();
    checkBatchKeys(good, refusals, 1);
    checkBatchKeys({ ...good, micro_batch_size: 4 }, refusals, 1);
    expect(refusals.problems).toEqual([]);
  });

  it('shares a step among ranks, and refuses what they cannot share equally', () => {
    const refusals = new Refusals();
    checkBatchKeys(good, refusals, 4);
    checkBatchKeys({ ...good, micro_batch_size: 2 }, refusals, 3);
    expect(refusals.problems).toEqual([]);
    checkBatchKeys(good, refusals, 5);
    checkBatchKeys({ ...good, micro_batch_size: 4 }, refusals, 2);
    expect(refusals.problems).toEqual([
      'train.global_batch_size: got 12, expected a multiple of 5, the number of ranks',
      'train.micro_batch_size: got 4, expected a divisor of 6, the share of each of 2 ranks in global_batch_size 12',
    ]);
  });

  it('refuses micro-batches that do not divide a step', () => {
    const refusals = new Refusals();
    checkBatchKeys({ ...good, micro_batch_size: 5 }, refusals, 1);
    expect(refusals.problems).toEqual([
      'train.micro_batch_size: got 5, expected a divisor of global_batch_size 12',
    ]);
  });
});

describe('checkKeepBest', () => {
  it('requires a validation at every checkpoint with keep_best', () => {
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

describe('defaults', () => {
  it.each([
    [{}, { global_batch_size: 256, learning_rate: 4e-4 }],
    [{ micro_batch_size: 3 }, { global_batch_size: 255, learning_rate: 4e-4 }],
    [{ micro_batch_size: 300 }, { global_batch_size: 300, learning_rate: 4e-4 }],
    [{ min_learning_rate: 1e-3 }, { global_batch_size: 256, learning_rate: 1e-3 }],
    [
      { global_batch_size: 2, learning_rate: 1 },
      { global_batch_size: 2, learning_rate: 1 },
    ],
  ])('of batches adapt to %o', (given, expected) => {
    expect(fillBatchKeys(given, { global_batch_size: 256, learning_rate: 4e-4 })).toEqual(expected);
  });

  it.each([
    [undefined, undefined, false, 100, 100],
    [30, undefined, false, 30, 100],
    [30, undefined, true, 30, 30],
    [200, undefined, true, 200, 100],
    [undefined, 30, true, 120, 30],
    [undefined, 30, false, 100, 30],
    [undefined, 400, true, 400, 400],
  ])('of intervals: checkpoint %s, validation %s, best %s', (every, validation, keep_best, ...expected) => {
    const filled = fillIntervals({ every, keep_best }, { every: validation });
    expect([filled.checkpoint, filled.validation]).toEqual(expected);
  });
});

describe('batchPlan', () => {
  it('takes a rank’s share of the step as a micro-batch by default', () => {
    expect(batchPlan(good, 1)).toEqual({ microBatchSize: 12, microBatches: 1 });
    expect(batchPlan(good, 4)).toEqual({ microBatchSize: 3, microBatches: 4 });
    const cut = { ...good, micro_batch_size: 2 };
    expect(batchPlan(cut, 1)).toEqual({ microBatchSize: 2, microBatches: 6 });
    expect(batchPlan(cut, 3)).toEqual(batchPlan(cut, 1));
    expect(() => batchPlan(good, 5)).toThrow(/global_batch_size: got 12, expected a multiple of 5/);
  });
});

describe('runSeeds', () => {
  it('are the seed, except those set apart', () => {
    expect(runSeeds({ seed: 3 })).toEqual({ init: 3, data: 3, mask: 3 });
    expect(runSeeds({ seed: 3, data_seed: 0 })).toEqual({ init: 3, data: 0, mask: 3 });
  });

  it('differ in their fingerprint exactly if they differ', () => {
    expect(seedFingerprint({ seed: 3 })).toBe(3);
    expect(seedFingerprint({ seed: 3, mask_seed: 3 })).toBe(3);
    expect(seedFingerprint({ seed: 3, init_seed: 1, mask_seed: 0 })).toBe('3, init_seed 1, mask_seed 0');
  });
});
