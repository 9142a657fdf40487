/** The options of `train` that every recipe determines in the same way. */
import type { Precision } from '@meap/tensor-kernels';
import {
  adamWOptimizer,
  type CheckpointOptions,
  muonOptimizer,
  type ParameterGroup,
  type TrainOptions,
  type ZeroStage,
} from '@meap/trainer';
import { configuredSchedule, type ScheduleKeys } from './schedule-keys.ts';
import { batchPlan, type OptimizerKeys } from './training-keys.ts';

/** The keys of a recipe that {@link recipeOptions} reads. */
export interface RecipeOptionKeys {
  precision: Precision;
  train: ScheduleKeys &
    OptimizerKeys & {
      adam_beta1: number;
      adam_beta2: number;
      adam_epsilon: number;
      weight_decay: number;
      max_grad_norm: number;
      on_spike: 'warn' | 'skip' | 'ignore';
    };
  checkpoint: { every: number; keep_last: number; keep_every?: number; keep_best: boolean };
  distributed: { zero_stage: ZeroStage };
}

/** Names of the linear layers of the blocks, which Muon updates. */
const MUON_MATRICES = /^model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj\.weight$/;

/** Floats of an optimizer: those that it keeps of all parameters, and those of its work on the largest matrix. */
export function optimizerFloats(
  optim: OptimizerKeys['optim'],
  shapes: ReadonlyMap<string, readonly number[]>,
): { state: number; work: number } {
  const floats = { state: 0, work: 0 };
  for (const [name, shape] of shapes) {
    const size = shape.reduce((a, b) => a * b, 1);
    const isMuon = optim === 'muon' && MUON_MATRICES.test(name);
    floats.state += isMuon ? size : 2 * size;
    // The update before and after a product, and two products with its transpose.
    if (isMuon) floats.work = Math.max(floats.work, 2 * (size + Math.min(...shape) ** 2));
  }
  return floats;
}

/** Optimizer, schedule, accumulation and retention of a run of `steps` steps; `groups` are parameters with other rates. */
export function recipeOptions(
  { precision, train, checkpoint, distributed }: RecipeOptionKeys,
  steps: number,
  numRanks: number,
  groups: readonly ParameterGroup[] = [],
): Required<
  Pick<
    TrainOptions<unknown>,
    | 'optimizer'
    | 'schedule'
    | 'steps'
    | 'microBatches'
    | 'clipNorm'
    | 'guard'
    | 'lossScaling'
    | 'zeroStage'
    | 'fingerprints'
  >
> & {
  checkpoint: Omit<CheckpointOptions, 'saveModel' | 'loadModel'>;
} {
  const adamW = {
    beta1: train.adam_beta1,
    beta2: train.adam_beta2,
    epsilon: train.adam_epsilon,
    weightDecay: train.weight_decay,
  };
  return {
    optimizer:
      train.optim === 'muon'
        ? muonOptimizer({ ...adamW, matrices: MUON_MATRICES, momentum: train.muon_momentum })
        : adamWOptimizer({ ...adamW, groups }),
    schedule: configuredSchedule(train, steps),
    steps,
    microBatches: batchPlan(train, numRanks).microBatches,
    clipNorm: train.max_grad_norm,
    guard: { onSpike: train.on_spike },
    lossScaling: precision === 'float16',
    zeroStage: distributed.zero_stage,
    checkpoint: {
      every: checkpoint.every,
      keepLast: checkpoint.keep_last,
      keepEvery: checkpoint.keep_every,
      keepBest: checkpoint.keep_best,
    },
    fingerprints: {
      global_batch_size: train.global_batch_size,
      micro_batch_size: train.micro_batch_size ?? 'a rank’s share',
      precision,
      ...(train.optim === 'muon' && { optim: train.optim }),
    },
  };
}
