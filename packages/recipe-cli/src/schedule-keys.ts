/** Recipe keys of the learning-rate schedule. */
import { referenceCosine, type Schedule, warmupConstant, warmupCosine, warmupLinear } from '@meap/trainer';
import type { Refusals } from './parse-config.ts';
import { oneOf, zeroToOne } from './schema-keys.ts';

const TYPES = ['cosine', 'linear', 'constant', 'reference'] as const;

/** Keys of schedule and warm-up. @param warmupOf the total that `warmup_ratio` is a share of */
export const scheduleKeys = (warmupOf: string) => ({
  lr_scheduler_type: oneOf(
    TYPES,
    'Schedule after the warm-up: cosine and linear decay to min_learning_rate, constant does not. reference is the cosine ' +
      'of the authors’ code, which counts micro-batches and therefore depends on micro_batch_size.',
    `one of ${TYPES.join(', ')}, each after the warm-up of warmup_ratio`,
  ).default('cosine'),
  warmup_ratio: zeroToOne(
    `Share of ${warmupOf} for the linear warm-up, rounded down to whole steps; 0 disables it.`,
  ).default(0.1),
});

/** Keys of `train` for batch sizes. */
export interface BatchKeys {
  global_batch_size: number;
  micro_batch_size?: number;
}

/** Keys of `train` that determine the learning rate. */
export interface ScheduleKeys extends BatchKeys {
  lr_scheduler_type: (typeof TYPES)[number];
  warmup_ratio: number;
  learning_rate: number;
  /** Unused with `constant`. */
  min_learning_rate?: number;
}

/** Returns the schedule of a run of `totalSteps`; only `reference` depends on batch sizes. */
export function configuredSchedule(train: ScheduleKeys, totalSteps: number): Schedule {
  const peak = train.learning_rate;
  const shape = {
    peak,
    minimum: train.min_learning_rate ?? 0,
    warmupSteps: warmupSteps(train.warmup_ratio, totalSteps),
    totalSteps,
  };
  switch (train.lr_scheduler_type) {
    case 'cosine':
      return warmupCosine(shape);
    case 'linear':
      return warmupLinear(shape);
    case 'constant':
      return warmupConstant(shape);
    case 'reference': {
      // One micro-batch per step by default, so that the number of ranks does not change the rate.
      const { global_batch_size, micro_batch_size = global_batch_size } = train;
      return referenceCosine({ ...shape, microBatches: global_batch_size / micro_batch_size });
    }
  }
}

/** Returns the warm-up steps, rounded down as by Python's `int` in the authors' code. */
export function warmupSteps(warmupRatio: number, steps: number): number {
  // The product may be just below an integer: 0.29 · 100 is 28.999….
  return Math.floor(warmupRatio * steps + 1e-9);
}

/** Returns `min_learning_rate` or its default; undefined for a constant rate. */
export function lowestRate(
  train: Pick<ScheduleKeys, 'lr_scheduler_type' | 'min_learning_rate'>,
  byDefault: number,
): number | undefined {
  return train.min_learning_rate ?? (train.lr_scheduler_type === 'constant' ? undefined : byDefault);
}

/** Refuses a minimum above the learning rate, and a minimum for a constant rate. */
export function checkScheduleKeys(
  train: Pick<ScheduleKeys, 'lr_scheduler_type' | 'learning_rate' | 'min_learning_rate'>,
  refusals: Refusals,
): void {
  const { lr_scheduler_type, learning_rate, min_learning_rate } = train;
  if (min_learning_rate === undefined) return;
  if (lr_scheduler_type === 'constant') {
    const expected = 'none with lr_scheduler_type constant; null removes it';
    refusals.add('train.min_learning_rate', min_learning_rate, expected);
  } else if (min_learning_rate > learning_rate) {
    refusals.add('train.min_learning_rate', min_learning_rate, `at most learning_rate ${learning_rate}`);
  }
}
