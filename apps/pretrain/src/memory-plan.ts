import {
  countParameters,
  fusesBlocks,
  type LlamaConfig,
  PIECE_TOKENS,
  parameterShapes,
} from '@meap/llama-model';
import { batchPlan, estimateMemory, type MemoryPlan, optimizerFloats, planMemory } from '@meap/recipe-cli';
import { describeBackend } from '@meap/tensor-kernels';
import { RankGroup } from '@meap/trainer';
import type { PretrainConfig } from './resolve-config.ts';

/** Measured memory of the program before training. */
const BASE_BYTES = 150 * 1024 * 1024;

/** Estimates from shapes whether a run fits this machine, with the backend in use. */
export function planPretraining(
  { train, distributed }: PretrainConfig,
  model: LlamaConfig,
  { size: numRanks, numLocal }: Pick<RankGroup, 'size' | 'numLocal'> = new RankGroup(),
): MemoryPlan {
  const { sequence_length, recompute, memory_limit_gib } = train;
  const { microBatchSize, microBatches } = batchPlan(train, numRanks);
  const parameters = countParameters(model);
  const estimate = estimateMemory(model, {
    parameters,
    trained: parameters,
    optimizer: optimizerFloats(train.optim, parameterShapes(model)),
    base: BASE_BYTES,
    positions: microBatchSize * sequence_length,
    accumulates: microBatches > numRanks,
    zero: { stage: distributed.zero_stage, numRanks },
    recompute,
    fused: fusesBlocks(model),
    pieceTokens: sequence_length > PIECE_TOKENS ? PIECE_TOKENS : undefined,
  });
  const remedies = [
    ...(recompute ? [] : ['train.recompute']),
    ...(microBatchSize > 1 ? ['a smaller train.micro_batch_size'] : []),
    'a shorter train.sequence_length',
  ];
  const onDevice = describeBackend().hasOwnMemory;
  return planMemory(estimate, { limitGib: memory_limit_gib, numLocalRanks: numLocal, onDevice, remedies });
}
