/** Recipe keys of the learning-rate schedule. */
import {
  DECAY_TYPES,
  referenceCosine,
  type Schedule,
  warmupConstant,
  warmupCosine,
  warmupLinear,
  warmupStableDecay,
} from '@meap/trainer';
import type { Refusals } from './parse-config.ts';
import { oneOf, zeroToOne } from './schema-keys.ts';

const TYPES = ['cosine', 'linear', 'constant', 'warmup_stable_decay', 'reference'] as const;

/** Default share of the steps in which `warmup_stable_decay` decays. */
const DECAY_RATIO = 0.2;

/** Keys of schedule and warm-up. @param warmupOf the total that `warmup_ratio` is a share of */
export const scheduleKeys = (warmupOf: string) => ({
  lr_scheduler_type: oneOf(
    TYPES,
    'Schedule after the warm-up: cosine and linear decay to min_learning_rate, constant does not, warmup_stable_decay ' +
      'does in its last steps. reference is the cosine of the authors’ code, which counts micro-batches and therefore ' +
      'depends on micro_batch_size.',
    `one of ${TYPES.join(', ')}, each after the warm-up of warmup_ratio`,
  ).default('cosine'),
  warmup_ratio: zeroToOne(
    `Share of ${warmupOf} for the linear warm-up, rounded down to whole steps; 0 disables it.`,
  ).default(0.1),
  decay_ratio: zeroToOne(
    `Share of ${warmupOf} in which warmup_stable_decay decays, at the end, rounded down to whole steps; default: ${DECAY_RATIO}.`,
  ).optional(),
  decay_type: oneOf(
    DECAY_TYPES,
    'Shape of the decay of warmup_stable_decay, one minus a square root, a line or half a cosine; default: 1-sqrt.',
  ).optional(),
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
  /** Only used with `warmup_stable_decay`, as is `decay_type`. */
  decay_ratio?: number;
  decay_type?: (typeof DECAY_TYPES)[number];
}

/** Returns the schedule of a run of `totalSteps`; only `reference` depends on batch sizes. */
export function configuredSchedule(train: ScheduleKeys, totalSteps: number): Schedule {
  const peak = train.learning_rate;
  const shape = {
    peak,
    minimum: train.min_learning_rate ?? 0,
    warmupSteps: stepsOf(train.warmup_ratio, totalSteps),
    totalSteps,
  };
  switch (train.lr_scheduler_type) {
    case 'cosine':
      return warmupCosine(shape);
    case 'linear':
      return warmupLinear(shape);
    case 'constant':
      return warmupConstant(shape);
    case 'warmup_stable_decay':
      return warmupStableDecay({
        ...shape,
        decaySteps: stepsOf(train.decay_ratio ?? DECAY_RATIO, totalSteps),
        decayType: train.decay_type,
      });
    case 'reference': {
      // One micro-batch per step by default, so that the number of ranks does not change the rate.
      const { global_batch_size, micro_batch_size = global_batch_size } = train;
      return referenceCosine({ ...shape, microBatches: global_batch_size / micro_batch_size });
    }
  }
}

/** Returns a share of the steps, rounded down as by Python's `int` in the authors' code. */
export function stepsOf(ratio: number, steps: number): number {
  // The product may be just below an integer: 0.29 · 100 is 28.999….
  return Math.floor(ratio * steps + 1e-9);
}

/** Returns the optional keys or their defaults; undefined where the schedule does not use them. */
export function fillScheduleKeys(
  train: Pick<ScheduleKeys, 'lr_scheduler_type' | 'min_learning_rate' | 'decay_ratio' | 'decay_type'>,
  minLearningRate: number,
): Pick<ScheduleKeys, 'min_learning_rate' | 'decay_ratio' | 'decay_type'> {
  const { lr_scheduler_type: type, min_learning_rate, decay_ratio, decay_type } = train;
  const decays = type === 'warmup_stable_decay';
  return {
    min_learning_rate: min_learning_rate ?? (type === 'constant' ? undefined : minLearningRate),
    decay_ratio: decay_ratio ?? (decays ? DECAY_RATIO : undefined),
    decay_type: decay_type ?? (decays ? DECAY_TYPES[0] : undefined),
  };
}

/** Refuses a minimum above the learning rate, keys that the schedule does not use, and more than all steps. */
export function checkScheduleKeys(train: Omit<ScheduleKeys, keyof BatchKeys>, refusals: Refusals): void {
  const { lr_scheduler_type, learning_rate, min_learning_rate, warmup_ratio, decay_ratio, decay_type } =
    train;
  if (lr_scheduler_type !== 'warmup_stable_decay') {
    for (const [key, value] of Object.entries({ decay_ratio, decay_type })) {
      if (value === undefined) continue;
      refusals.add(
        `train.${key}`,
        value,
        `none with lr_scheduler_type ${lr_scheduler_type}; null removes it`,
      );
    }
  } else if (decay_ratio !== undefined && warmup_ratio + decay_ratio > 1 + 1e-9) {
    const expected = `at most ${Number((1 - warmup_ratio).toFixed(9))}, which warmup_ratio ${warmup_ratio} leaves`;
    refusals.add('train.decay_ratio', decay_ratio, expected);
  }
  if (min_learning_rate === undefined) return;
  if (lr_scheduler_type === 'constant') {
    const expected = 'none with lr_scheduler_type constant; null removes it';
    refusals.add('train.min_learning_rate', min_learning_rate, expected);
  } else if (min_learning_rate > learning_rate) {
    refusals.add('train.min_learning_rate', min_learning_rate, `at most learning_rate ${learning_rate}`);
  }
}
