import '#tfjs';

export {
  type BackendDescription,
  type BackendName,
  type BackendOptions,
  backendNames,
  describeBackend,
  planOnTarget,
  setBackend,
} from './backend.ts';
export {
  bfloat16Bits,
  bfloat16Variable,
  isStoredAsBfloat16,
  storeAsBfloat16,
} from './bfloat16-storage.ts';
export { type CachedAttentionOptions, cachedAttention, type SequenceCache } from './cached-attention.ts';
export { compilesShapes, markStep } from './compiled-steps.ts';
export { availableThreads, type ContainerLimits, containerLimits } from './container-limits.ts';
export type { Keep } from './custom-gradient.ts';
export { dropout } from './dropout.ts';
export { BackendError } from './errors.ts';
export { copyInto, memoryOf, overwrite, type StagedVector, stageVector, trimMemory } from './host-memory.ts';
export { installCommand } from './install-command.ts';
export {
  describeMesh,
  type Mesh,
  type MeshAxis,
  meshAxes,
  meshSize,
  shardLike,
  shardTensor,
  type TensorSharding,
} from './mesh.ts';
export { type MuonOptions, muon } from './muon.ts';
export {
  attention,
  embedding,
  type LinearCrossEntropyOptions,
  type LossWithZLoss,
  linear,
  linearCrossEntropy,
  linearCrossEntropyWithZLoss,
  rmsNorm,
  rotaryEmbedding,
  scoreTokens,
  swiGlu,
  type TokenScores,
} from './ops.ts';
export {
  type AdamWOptions,
  adamW,
  canScaleOnDevice,
  type GradientScaleOptions,
  globalNorm,
  gradientScale,
  sumsOfSquares,
} from './optimizer.ts';
export { type Precision, precisionNames } from './precision.ts';
export {
  type QuantizedFormat,
  quantizedBytes,
  quantizedFormat,
  quantizedFormats,
  storeQuantized,
} from './quantized-storage.ts';
export { type Piece, type PiecewiseInputs, recompute, recomputeInPieces } from './recompute.ts';
export type { AttentionOptions } from './reference.ts';
export {
  type AttentionWeights,
  type Drop,
  type FeedForwardWeights,
  type ResidualAttentionOptions,
  residualAttention,
  residualFeedForward,
} from './residual-layers.ts';
export { measurePeak, setPrecision } from './set-precision.ts';
export { threefry } from './threefry.ts';
