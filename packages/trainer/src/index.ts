export { type FoundCheckpoint, latestCheckpoint, openCheckpoint } from './checkpoint.ts';
export type { SaveModel, TensorWriter } from './checkpoint-saver.ts';
export type { ZeroStage } from './data-parallel.ts';
export { fileSha256 } from './durable.ts';
export { describeEnvironment, type Environment, writeEnvironment } from './environment.ts';
export {
  CheckpointError,
  NonFiniteError,
  ResumeMismatchError,
  RunExistsError,
  RunLockedError,
  TrainerError,
} from './errors.ts';
export type { GuardOptions, GuardState } from './guard.ts';
export type { Interval } from './intervals.ts';
export { acquireLock, type LockMark, type LockOptions, type RunLock } from './lock.ts';
export type { LossScaleState } from './loss-scale.ts';
export {
  type AdamWOptions,
  adamWOptimizer,
  type MuonOptimizerOptions,
  muonOptimizer,
  type Optimizer,
  type OptimizerState,
  type OptimizerUpdate,
  type ParameterGroup,
} from './optimizer.ts';
export type { Probe, ProbeContext, ProbeValues, StopRule } from './probes.ts';
export { type ConnectRanksOptions, connectRanks, RankGroup } from './rank-group.ts';
export { requireSameRun } from './resume.ts';
export { runStep } from './run-step.ts';
export {
  DECAY_TYPES,
  type ReferenceCosineOptions,
  referenceCosine,
  type Schedule,
  type WarmupDecayOptions,
  type WarmupOptions,
  type WarmupStableDecayOptions,
  warmupConstant,
  warmupCosine,
  warmupLinear,
  warmupStableDecay,
} from './schedules.ts';
export { type StopSignals, stopOnSignals } from './signals.ts';
export { train } from './train.ts';
export type {
  CheckpointOptions,
  SampleOptions,
  SampleRows,
  TrainOptions,
  TrainResult,
} from './train-options.ts';
export type {
  BatchSource,
  Json,
  Loss,
  LossSum,
  Parameters,
  Position,
  ProbeMetrics,
  StepMetrics,
  TrainEvent,
  ValidationLoss,
  ValidationMetrics,
  ValidationSum,
} from './types.ts';
export { type ValidationOptions, validate } from './validation.ts';
export {
  bestCheckpoint,
  listCheckpoints,
  type Retention,
  stepDirectory,
  stepOf,
  type TrainerState,
} from './write-checkpoint.ts';
