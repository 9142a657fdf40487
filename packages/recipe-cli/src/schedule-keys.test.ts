import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { Refusals } from './parse-config.ts';
import {
  checkScheduleKeys,
  configuredSchedule,
  fillScheduleKeys,
  type ScheduleKeys,
  scheduleKeys,
  stepsOf,
} from './schedule-keys.ts';

const given: ScheduleKeys = {
  lr_scheduler_type: 'cosine',
  warmup_ratio: 0,
  learning_rate: 0.01,
  min_learning_rate: 0,
  global_batch_size: 4,
};
const ratesOf = (changes: Partial<ScheduleKeys>, steps = 3) =>
  Array.from({ length: steps }, (_, step) => configuredSchedule({ ...given, ...changes }, steps)(step));

describe('configuredSchedule', () => {
  it.each(['cosine', 'linear', 'constant', 'warmup_stable_decay'] as const)(
    '%s does not depend on micro-batches',
    (type) => {
      const rates = [undefined, 1, 2, 4].map((micro_batch_size) =>
        ratesOf({ lr_scheduler_type: type, micro_batch_size, warmup_ratio: 0.4 }, 7),
      );
      for (const other of rates) expect(other).toEqual(rates[0]);
      expect(rates[0][0]).toBeGreaterThan(0);
    },
  );

  it('has the curve of its name', () => {
    const expected = {
      cosine: [0.01, 0.0075, 0.0025],
      linear: [0.01, 0.01 * (2 / 3), 0.01 / 3],
      constant: [0.01, 0.01, 0.01],
      warmup_stable_decay: [0.01, 0.01, 0.01],
      reference: [0.01, 0.0075, 0.0025],
    };
    for (const [type, rates] of Object.entries(expected)) {
      ratesOf({ lr_scheduler_type: type as keyof typeof expected }).forEach((rate, step) => {
        expect(rate).toBeCloseTo(rates[step], 12);
      });
    }
  });

  it('decays in the last decay_ratio of the steps, a fifth by default', () => {
    const type = { lr_scheduler_type: 'warmup_stable_decay' } as const;
    expect(
      ratesOf({ ...type, decay_ratio: 0.5, warmup_ratio: 0.5 }, 4).map((rate) => rate.toFixed(5)),
    ).toEqual(['0.00333', '0.00667', '0.01000', '0.00293']);
    expect(ratesOf(type, 10).findIndex((rate) => rate < 0.01)).toBe(9);
    expect(ratesOf({ ...type, decay_ratio: 1, decay_type: 'linear' }, 4)).toEqual([
      0.01, 0.0075, 0.005, 0.0025,
    ]);
  });

  it('counts micro-batches for reference, independent of the number of ranks', () => {
    const rates = ratesOf({ lr_scheduler_type: 'reference', micro_batch_size: 1 });
    expect(rates.map((rate) => Number(rate.toFixed(5)))).toEqual([0.00854, 0.00371, 0.00017]);
  });
});

describe('the keys', () => {
  it('default to a cosine with a warm-up of a tenth', () => {
    const schema = z.strictObject(scheduleKeys('the steps'));
    expect(schema.parse({})).toEqual({ lr_scheduler_type: 'cosine', warmup_ratio: 0.1 });
    const { error } = schema.safeParse({ lr_scheduler_type: 'constant_with_warmup', warmup_ratio: 10 });
    expect(error!.issues.map(({ message }) => message)).toEqual([
      'one of cosine, linear, constant, warmup_stable_decay, reference, each after the warm-up of warmup_ratio',
      'a number from 0 to 1',
    ]);
  });

  it('refuse a minimum above the rate, and a minimum of a constant rate', () => {
    const refusals = new Refusals();
    checkScheduleKeys(given, refusals);
    checkScheduleKeys({ ...given, lr_scheduler_type: 'constant', min_learning_rate: undefined }, refusals);
    expect(refusals.problems).toEqual([]);
    checkScheduleKeys({ ...given, min_learning_rate: 2 }, refusals);
    checkScheduleKeys({ ...given, lr_scheduler_type: 'constant' }, refusals);
    expect(refusals.problems).toEqual([
      'train.min_learning_rate: got 2, expected at most learning_rate 0.01',
      'train.min_learning_rate: got 0, expected none with lr_scheduler_type constant; null removes it',
    ]);
  });

  it('refuse a decay of other schedules, and one that begins in the warm-up', () => {
    const refusals = new Refusals();
    const stable = { ...given, lr_scheduler_type: 'warmup_stable_decay', warmup_ratio: 0.7 } as const;
    checkScheduleKeys({ ...stable, decay_ratio: 0.3 }, refusals);
    expect(refusals.problems).toEqual([]);
    checkScheduleKeys({ ...stable, decay_ratio: 0.4 }, refusals);
    checkScheduleKeys({ ...given, decay_ratio: 0.4, decay_type: 'cosine' }, refusals);
    expect(refusals.problems).toEqual([
      'train.decay_ratio: got 0.4, expected at most 0.3, which warmup_ratio 0.7 leaves',
      'train.decay_ratio: got 0.4, expected none with lr_scheduler_type cosine; null removes it',
      'train.decay_type: got "cosine", expected none with lr_scheduler_type cosine; null removes it',
    ]);
  });

  it('have defaults only where the schedule uses them', () => {
    const filled = (['linear', 'constant', 'warmup_stable_decay'] as const).map((lr_scheduler_type) =>
      fillScheduleKeys({ lr_scheduler_type }, 0.1),
    );
    expect(filled).toEqual([
      { min_learning_rate: 0.1 },
      {},
      { min_learning_rate: 0.1, decay_ratio: 0.2, decay_type: '1-sqrt' },
    ]);
    const given = { lr_scheduler_type: 'warmup_stable_decay', min_learning_rate: 0, decay_ratio: 0 } as const;
    expect(fillScheduleKeys(given, 0.1)).toEqual({
      min_learning_rate: 0,
      decay_ratio: 0,
      decay_type: '1-sqrt',
    });
  });
});

describe('stepsOf', () => {
  it('rounds down, and rounds a product just below an integer up to it', () => {
    expect([stepsOf(0.1, 19), stepsOf(0.29, 100), stepsOf(0, 5)]).toEqual([1, 29, 0]);
  });

  it.each([1, 7, 99, 640, 1907, 190_000])('is exact for all percentages of %i steps', (steps) => {
    for (let percent = 0; percent <= 100; percent++) {
      expect(stepsOf(percent / 100, steps)).toBe(Math.floor((percent * steps) / 100));
    }
  });
});
