/** Ranks that cannot be connected, or arrays that an operation cannot take. */
export class CollectivesError extends Error {
  override readonly name: string = 'CollectivesError';
}

/**
 * An operation that other ranks have not joined in time, since one of them ended, was stopped or cannot be reached.
 *
 * The ranks no longer agree on what comes next: end the process and start the run again.
 */
export class CollectiveTimeoutError extends CollectivesError {
  override readonly name = 'CollectiveTimeoutError';
}
