/** The learning rate of a recipe: which curve, and what its keys have to be. */
import { referenceCosine, type Schedule, warmupConstant, warmupCosine, warmupLinear } from '@meap/trainer';
import type { Refusals } from './parse-config.ts';
import { oneOf, zeroToOne } from './schema-keys.ts';
import type { BatchKeys } from './training-keys.ts';

const TYPES = ['cosine', 'linear', 'constant', 'reference'] as const;

/** Curve and warm-up; `warmupOf` is what `warmup_ratio` is a share of. */
export const scheduleKeys = (warmupOf: string) => ({
  lr_scheduler_type: oneOf(
    TYPES,
    'What follows the warm-up: cosine and linear fall to min_learning_rate, constant stays. reference is the cosine of ' +
      'the authors’ code, which counts micro-batches, so that micro_batch_size shifts it.',
    `one of ${TYPES.join(', ')}, each after the warm-up of warmup_ratio`,
  ).default('cosine'),
  warmup_ratio: zeroToOne(
    `Share of ${warmupOf} for the linear warm-up, rounded down to whole steps; 0 for none.`,
  ).default(0.1),
});

/** Keys of `train` that make a learning rate. */
export interface ScheduleKeys extends BatchKeys {
  lr_scheduler_type: (typeof TYPES)[number];
  warmup_ratio: number;
  learning_rate: number;
  /** Of no meaning with `constant`. */
  min_learning_rate?: number;
}

/** The learning rate of a run of `totalSteps`; of the sizes of batches only `reference` makes any use. */
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
      // The step as one micro-batch where the recipe does not cut it up: ranks that share it change no rate.
      const { global_batch_size, micro_batch_size = global_batch_size } = train;
      return referenceCosine({ ...shape, microBatches: global_batch_size / micro_batch_size });
    }
  }
}

/** Steps of a linear warm-up over `steps`, rounded down as Python's `int` does in the authors' code. */
export function warmupSteps(warmupRatio: number, steps: number): number {
  // The product may fall just short of a whole number: 0.29 · 100 is 28.999….
  return Math.floor(warmupRatio * steps + 1e-9);
}

/** `min_learning_rate`, or its default, or none where the rate does not fall. */
export function lowestRate(
  train: Pick<ScheduleKeys, 'lr_scheduler_type' | 'min_learning_rate'>,
  byDefault: number,
): number | undefined {
  return train.min_learning_rate ?? (train.lr_scheduler_type === 'constant' ? undefined : byDefault);
}

/** Refuses a rate that rises, and a lowest one for a rate that stays. */
export function checkScheduleKeys(
  train: Pick<ScheduleKeys, 'lr_scheduler_type' | 'learning_rate' | 'min_learning_rate'>,
  refusals: Refusals,
): void {
  const { lr_scheduler_type, learning_rate, min_learning_rate } = train;
  if (min_learning_rate === undefined) return;
  if (lr_scheduler_type === 'constant') {
    const expected = 'none with lr_scheduler_type constant; null takes it away';
    refusals.add('train.min_learning_rate', min_learning_rate, expected);
  } else if (min_learning_rate > learning_rate) {
    refusals.add('train.min_learning_rate', min_learning_rate, `at most learning_rate ${learning_rate}`);
  }
}
