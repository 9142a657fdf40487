/** Thrown for ranks that cannot be connected and for invalid arguments. */
export class CollectivesError extends Error {
  override readonly name: string = 'CollectivesError';
}

/**
 * Thrown when other ranks did not join an operation in time: one of them ended, hangs or cannot be reached.
 *
 * The ranks no longer agree on the next operation: end the process and start the run again.
 */
export class CollectiveTimeoutError extends CollectivesError {
  override readonly name = 'CollectiveTimeoutError';
}
