/** Keys that the recipes of every program that trains have, with one meaning and one check. */
import { backendNames, precisionNames } from '@meap/tensor-kernels';
import { z } from 'zod';
import { Refusals } from './parse-config.ts';
import { type ScheduleKeys, scheduleKeys } from './schedule-keys.ts';
import { count, flag, natural, nonNegative, oneOf, positive, share, text } from './schema-keys.ts';

/** Keys above all sections; `seedMeaning` says what is drawn from the seed. */
export const runKeys = (seedMeaning: string) => ({
  extends: text('Another recipe that this one changes; relative to this file.').optional(),
  seed: natural(seedMeaning).default(0),
  backend: oneOf(backendNames, 'What computes; auto takes the best there is.').default('auto'),
  precision: oneOf(
    precisionNames,
    'Inputs of matrix products; sums, weights and moments stay float32. float16, with its loss scaled, is for GPUs.',
  ).default('float32'),
});

/** What differs between programs in {@link optimizerKeys}. */
export interface OptimizerDefaults {
  /** What `warmup_ratio` is a share of. */
  warmupOf: string;
  weightDecay: number;
  /** Which parameters decay. */
  decayed: string;
}

/** Curve of the learning rate, AdamW, clipping, recomputation and memory: the end of the section `train`. */
export const optimizerKeys = ({ warmupOf, weightDecay, decayed }: OptimizerDefaults) => ({
  ...scheduleKeys(warmupOf),
  adam_beta1: share('Decay of AdamW’s first moment.').default(0.9),
  adam_beta2: share('Decay of AdamW’s second moment.').default(0.95),
  adam_epsilon: positive('Epsilon of AdamW.').default(1e-8),
  weight_decay: nonNegative(`Decoupled weight decay, of all ${decayed}.`).default(weightDecay),
  max_grad_norm: positive('Global norm to which gradients are clipped.').default(1),
  recompute: flag('Keep only block inputs for the backward pass: less memory, a third more work.').default(
    false,
  ),
  memory_limit_gib: positive(
    'Most memory the run may take by its plan, or it is refused; default: what the machine or container has.',
  ).optional(),
});

/** Steps between two validations, samples or checkpoints, unless a recipe says otherwise. */
const INTERVAL = 100;

/** The section `checkpoint`. */
export const checkpointSection = () =>
  z
    .strictObject({
      every: count(
        `Steps between two checkpoints; default: ${INTERVAL}, or with keep_best the next multiple of validation.every.`,
      ).optional(),
      keep_last: count('How many of the newest stay.').default(2),
      keep_every: count('Also those whose step is a multiple of this stay; default: none.').optional(),
      keep_best: flag(
        'Whether the one with the lowest validation loss stays too; every is then a multiple of validation.every.',
      ).default(false),
    })
    .describe('When to save.')
    .prefault({});

/** The section `distributed`. */
export const distributedSection = () =>
  z
    .strictObject({
      zero_stage: z
        .literal([0, 1, 2], 'one of 0, 1, 2')
        .describe(
          'What ranks share out instead of holding it all (ZeRO): 1 the moments of AdamW, 2 the sums of gradients too.',
        )
        .default(0),
      timeout_seconds: positive('How long ranks wait for one that is gone or hangs before they end.').default(
        600,
      ),
    })
    .describe('For several processes started by mpirun or srun.')
    .prefault({});

/** The key `every` of the section `validation`. */
export const validationEvery = () =>
  count(
    `Steps between two validations; default: ${INTERVAL}, or with checkpoint.keep_best what divides checkpoint.every.`,
  ).optional();

/**
 * Fills in the intervals of checkpoints and validations: with `keep_best`, a default gives way to the one that is given.
 */
export function fillIntervals(
  checkpoint: { every?: number; keep_best: boolean },
  validation: { every?: number },
): { checkpoint: number; validation: number } {
  const { every, keep_best } = checkpoint;
  const divides = !keep_best || every === undefined || every % INTERVAL === 0;
  const validationEvery = validation.every ?? (divides ? INTERVAL : every);
  const following = Math.ceil(INTERVAL / validationEvery) * validationEvery;
  return { checkpoint: every ?? (keep_best ? following : INTERVAL), validation: validationEvery };
}

/** Refuses to keep the best checkpoint where some checkpoints have no validation to be judged by. */
export function checkKeepBest(
  { every, keep_best }: { every: number; keep_best: boolean },
  validation: { every: number },
  refusals: Refusals,
): void {
  if (!keep_best || every % validation.every === 0) return;
  refusals.add(
    'checkpoint.every',
    every,
    `a multiple of validation.every ${validation.every}, with checkpoint.keep_best`,
  );
}

/**
 * Fills in the rows of a step and the learning rate: a default gives way to the keys beside it, so that it never makes
 * a recipe invalid.
 */
export function fillBatchKeys(
  {
    global_batch_size,
    micro_batch_size = 1,
    learning_rate,
    min_learning_rate = 0,
  }: Partial<BatchKeys & Pick<ScheduleKeys, 'learning_rate' | 'min_learning_rate'>>,
  defaults: { global_batch_size: number; learning_rate: number },
): { global_batch_size: number; learning_rate: number } {
  const whole = defaults.global_batch_size - (defaults.global_batch_size % micro_batch_size);
  return {
    global_batch_size: global_batch_size ?? Math.max(micro_batch_size, whole),
    learning_rate: learning_rate ?? Math.max(defaults.learning_rate, min_learning_rate),
  };
}

/** Keys of `train` that have to fit each other. */
export interface BatchKeys {
  global_batch_size: number;
  micro_batch_size?: number;
}

/**
 * Rows computed at once: `micro_batch_size`, or else this rank's share of a step.
 *
 * @throws ConfigurationError for a step that ranks cannot share equally
 */
export function batchPlan(
  train: BatchKeys,
  numRanks: number,
): { microBatchSize: number; microBatches: number } {
  const refusals = new Refusals();
  checkBatchKeys(train, refusals, numRanks);
  refusals.throwIfAny();
  const { global_batch_size, micro_batch_size } = train;
  const microBatchSize = micro_batch_size ?? global_batch_size / numRanks;
  return { microBatchSize, microBatches: global_batch_size / microBatchSize };
}

/** Refuses micro-batches that do not make up a step or that ranks cannot share equally. */
export function checkBatchKeys(train: BatchKeys, refusals: Refusals, numRanks: number): void {
  const { global_batch_size } = train;
  const share = global_batch_size / numRanks;
  const { micro_batch_size = share } = train;
  if (!Number.isInteger(share)) {
    refusals.add(
      'train.global_batch_size',
      global_batch_size,
      `a multiple of ${numRanks}, the number of ranks`,
    );
  } else if (share % micro_batch_size !== 0) {
    const expected =
      numRanks === 1
        ? `a divisor of global_batch_size ${global_batch_size}`
        : `a divisor of ${share}, what each of ${numRanks} ranks computes of global_batch_size ${global_batch_size}`;
    refusals.add('train.micro_batch_size', micro_batch_size, expected);
  }
}
