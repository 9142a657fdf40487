/** Recipe keys of all training programs and their checks. */
import { backendNames, type Mesh, meshSize, precisionNames } from '@meap/tensor-kernels';
import { z } from 'zod';
import { Refusals } from './parse-config.ts';
import { type BatchKeys, type ScheduleKeys, scheduleKeys } from './schedule-keys.ts';
import { count, flag, natural, nonNegative, oneOf, positive, share, text } from './schema-keys.ts';

/** Top-level keys. @param seedMeaning what is drawn from the seed */
export const runKeys = (seedMeaning: string) => ({
  extends: text('Recipe to extend: a path relative to this file, or a name.').optional(),
  seed: natural(seedMeaning).default(0),
  backend: oneOf(backendNames, 'Compute backend; auto selects the best available.').default('auto'),
  precision: oneOf(
    precisionNames,
    'Inputs of matrix products; sums, weights and moments stay float32. float16 needs a GPU and scales the loss.',
  ).default('float32'),
});

/** Top-level keys that draw parts of a run from seeds of their own. @param uses what each is drawn for */
export const seedKeys = (uses: { init: string; data: string; mask: string }) => {
  const seed = (use: string) => natural(`Seed of ${use}; default: seed.`).optional();
  return { init_seed: seed(uses.init), data_seed: seed(uses.data), mask_seed: seed(uses.mask) };
};

/** The keys of a recipe that hold seeds. */
export interface SeedKeys {
  seed: number;
  init_seed?: number;
  data_seed?: number;
  mask_seed?: number;
}

/** Returns the seeds of initial weights, data order, and masks with dropout. */
export function runSeeds({ seed, init_seed = seed, data_seed = seed, mask_seed = seed }: SeedKeys): {
  init: number;
  data: number;
  mask: number;
} {
  return { init: init_seed, data: data_seed, mask: mask_seed };
}

/** Returns the fingerprint of a run's seeds: `seed`, followed by the seeds that differ from it. */
export function seedFingerprint(keys: SeedKeys): string | number {
  const differing = Object.entries(runSeeds(keys)).filter(([, seed]) => seed !== keys.seed);
  if (differing.length === 0) return keys.seed;
  return [keys.seed, ...differing.map(([name, seed]) => `${name}_seed ${seed}`)].join(', ');
}

/** Differences between programs in {@link optimizerKeys}. */
export interface OptimizerDefaults {
  /** The total that `warmup_ratio` is a share of. */
  warmupOf: string;
  weightDecay: number;
  /** Which parameters decay. */
  decayed: string;
}

/** Names of optimizers. */
const OPTIMIZERS = ['adamw', 'muon'] as const;

/** Default share of the momentum buffer that a step of Muon keeps. */
const MUON_MOMENTUM = 0.95;

/** Keys of `train` for schedule, optimizer, clipping, recomputation and memory. */
export const optimizerKeys = ({ warmupOf, weightDecay, decayed }: OptimizerDefaults) => ({
  ...scheduleKeys(warmupOf),
  optim: oneOf(
    OPTIMIZERS,
    'adamw: AdamW for all parameters. muon: Muon for the matrices of the blocks, with updates of the size of AdamW’s, and AdamW ' +
      'for embeddings, head, norms and biases; both take the same learning_rate and weight_decay.',
  ).default('adamw'),
  muon_momentum: share(`Momentum (Nesterov) of optim muon; default: ${MUON_MOMENTUM}.`).optional(),
  adam_beta1: share('Decay rate of AdamW’s first moment.').default(0.9),
  adam_beta2: share('Decay rate of AdamW’s second moment.').default(0.95),
  adam_epsilon: positive('Epsilon of AdamW.').default(1e-8),
  weight_decay: nonNegative(`Decoupled weight decay of all ${decayed}.`).default(weightDecay),
  max_grad_norm: positive('Maximum global norm of gradients.').default(1),
  on_spike: oneOf(
    ['warn', 'skip', 'ignore'],
    'At a loss, or 3 gradient norms in a row, 6 standard deviations above the usual: warn, also skip the update (at the first such norm), or ignore.',
  ).default('warn'),
  recompute: flag('Recompute blocks in the backward pass: less memory, a third more computation.').default(
    false,
  ),
  memory_limit_gib: positive(
    'Memory limit in GiB: a run whose estimate exceeds it is refused. Default: the memory of the machine or container.',
  ).optional(),
});

/** The keys of `train` that choose the optimizer. */
export interface OptimizerKeys {
  optim: (typeof OPTIMIZERS)[number];
  /** Only used with `muon`. */
  muon_momentum?: number;
}

/** Returns the momentum or its default; undefined where the optimizer does not use it. */
export function fillOptimizerKeys({
  optim,
  muon_momentum,
}: OptimizerKeys): Pick<OptimizerKeys, 'muon_momentum'> {
  return { muon_momentum: muon_momentum ?? (optim === 'muon' ? MUON_MOMENTUM : undefined) };
}

/** Refuses a momentum that the optimizer does not use, and Muon where it would see parts of matrices or float16 products. */
export function checkOptimizerKeys(
  { optim, muon_momentum }: OptimizerKeys,
  { precision, distributed }: { precision: string; distributed: { zero_stage: number } },
  refusals: Refusals,
): void {
  if (optim !== 'muon') {
    if (muon_momentum === undefined) return;
    refusals.add('train.muon_momentum', muon_momentum, `none with optim ${optim}; null removes it`);
    return;
  }
  if (distributed.zero_stage > 0) {
    const expected =
      '0 with train.optim muon, which needs whole matrices; distributed.mesh.fsdp shards its buffers';
    refusals.add('distributed.zero_stage', distributed.zero_stage, expected);
  }
  if (precision === 'float16') {
    refusals.add(
      'precision',
      precision,
      'float32 or bfloat16 with train.optim muon, whose products float16 rounds to 0',
    );
  }
}

/** Default steps between two validations or checkpoints. */
const INTERVAL = 100;

/** The section `checkpoint`. */
export const checkpointSection = () =>
  z
    .strictObject({
      every: count(
        `Steps between two checkpoints; default: ${INTERVAL}, or with keep_best the next multiple of validation.every.`,
      ).optional(),
      keep_last: count('Number of newest checkpoints to keep.').default(2),
      keep_every: count('Also keep checkpoints whose step is a multiple of this; default: none.').optional(),
      keep_best: flag(
        'Also keep the checkpoint with the lowest validation loss; every must then be a multiple of validation.every.',
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
        .describe('ZeRO stage: 1 shards AdamW’s moments over the ranks, 2 also gradients.')
        .default(0),
      timeout_seconds: positive(
        'Seconds that ranks wait for a rank that ended or hangs before they end too.',
      ).default(600),
      mesh: z
        .strictObject({
          data: count('Devices along which only the rows of a batch are split.').default(1),
          fsdp: count(
            'Devices along which rows, weights, gradients and moments are split (ZeRO stage 3).',
          ).default(1),
          tensor: count('Devices along which attention heads and feed-forward channels are split.').default(
            1,
          ),
        })
        .describe(
          'Devices of one process with backend xla, data × fsdp × tensor; default: one device. Checkpoints are the same for any mesh.',
        )
        .optional(),
    })
    .describe('Runs on several devices, or of several processes started by mpirun or srun.')
    .prefault({});

/** The key `every` of the section `validation`. */
export const validationEvery = () =>
  count(
    `Steps between two validations; default: ${INTERVAL}, or with checkpoint.keep_best a divisor of checkpoint.every.`,
  ).optional();

/** Fills in the intervals of checkpoints and validations; with `keep_best`, a default adapts to the given interval. */
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

/** Refuses `keep_best` if some checkpoints have no validation. */
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

/** Fills in batch size and learning rate; defaults adapt to other keys, so that they never make a recipe invalid. */
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

/**
 * Returns the micro-batches of a step; their size is `micro_batch_size`, or a rank's share of the step.
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

/** Refuses a mesh without the backend `xla`, beside ranks, or that does not divide the rows of a forward pass. */
export function checkMesh(
  { backend, distributed, train }: { backend: string; distributed: { mesh?: Mesh }; train: BatchKeys },
  refusals: Refusals,
  numRanks: number,
): void {
  const { mesh } = distributed;
  if (!mesh || meshSize(mesh) === 1) return;
  if (backend !== 'xla') {
    refusals.add('distributed.mesh', mesh, `none with backend ${backend}: a mesh needs backend xla`);
  }
  if (numRanks > 1) {
    const expected = `none with ${numRanks} ranks: one process drives all devices of a mesh`;
    refusals.add('distributed.mesh', mesh, expected);
  }
  const { global_batch_size, micro_batch_size } = train;
  const parts = meshSize(mesh, ['data', 'fsdp']);
  if ((micro_batch_size ?? global_batch_size) % parts === 0) return;
  refusals.add(
    micro_batch_size === undefined ? 'train.global_batch_size' : 'train.micro_batch_size',
    micro_batch_size ?? global_batch_size,
    `a multiple of ${parts}, data × fsdp of distributed.mesh`,
  );
}

/** Refuses micro-batches that do not divide a step, and steps that ranks cannot share equally. */
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
        : `a divisor of ${share}, the share of each of ${numRanks} ranks in global_batch_size ${global_batch_size}`;
    refusals.add('train.micro_batch_size', micro_batch_size, expected);
  }
}
