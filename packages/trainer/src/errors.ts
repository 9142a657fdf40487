/** Base of all errors that users can fix; the message is one line. */
export class TrainerError extends Error {
  override name = 'TrainerError';
}

/** Thrown when more consecutive steps than `guard.maxNonFiniteSteps` had a non-finite loss or gradient. */
export class NonFiniteError extends TrainerError {
  override name = 'NonFiniteError';
}

/** Thrown when a checkpoint cannot be written, or all are damaged. */
export class CheckpointError extends TrainerError {
  override name = 'CheckpointError';
}

/** Thrown when data, model or weights differ from those of the checkpoint to resume from. */
export class ResumeMismatchError extends TrainerError {
  override name = 'ResumeMismatchError';
}

/** Thrown when another process is training in the run directory. */
export class RunLockedError extends TrainerError {
  override name = 'RunLockedError';
}

/** Thrown for a new run in a directory that already has one. */
export class RunExistsError extends TrainerError {
  override name = 'RunExistsError';
}
