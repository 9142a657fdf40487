/** Base of every error this package throws for a cause its user can act on: one line, no stack needed. */
export class TrainerError extends Error {
  override name = 'TrainerError';
}

/** The loss or a gradient was not finite more often in a row than `guard.maxNonFiniteSteps` allows. */
export class NonFiniteError extends TrainerError {
  override name = 'NonFiniteError';
}

/** A checkpoint could not be written, or none of those present is complete. */
export class CheckpointError extends TrainerError {
  override name = 'CheckpointError';
}

/** The checkpoint to resume from belongs to another run: data, model or weights differ. */
export class ResumeMismatchError extends TrainerError {
  override name = 'ResumeMismatchError';
}

/** Another live process is training in the same run directory. */
export class RunLockedError extends TrainerError {
  override name = 'RunLockedError';
}

/** A new run was asked for in a directory that already holds one. */
export class RunExistsError extends TrainerError {
  override name = 'RunExistsError';
}
