export {
  type FoundCheckpoint,
  latestCheckpoint,
  listCheckpoints,
  openCheckpoint,
  type TrainerState,
} from './checkpoint.ts';
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
export { acquireLock } from './lock.ts';
export {
  type AdamWOptions,
  adamWOptimizer,
  type Optimizer,
  type OptimizerState,
  type OptimizerUpdate,
  type ParameterGroup,
} from './optimizer.ts';
export { constantRate, type Schedule, type WarmupCosineOptions, warmupCosine } from './schedules.ts';
export { type StopSignals, stopOnSignals } from './signals.ts';
export {
  type CheckpointOptions,
  type SampleOptions,
  type SampleRows,
  type TrainOptions,
  type TrainResult,
  train,
} from './train.ts';
export type {
  BatchSource,
  Json,
  Loss,
  LossSum,
  Parameters,
  Position,
  StepMetrics,
  TrainEvent,
  ValidationLoss,
  ValidationMetrics,
  ValidationSum,
} from './types.ts';
export { type ValidationOptions, validate } from './validation.ts';
