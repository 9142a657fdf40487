/** PJRT's error codes, those of absl::Status. */
export type PjrtErrorCode =
  | 'CANCELLED'
  | 'UNKNOWN'
  | 'INVALID_ARGUMENT'
  | 'DEADLINE_EXCEEDED'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'OUT_OF_RANGE'
  | 'UNIMPLEMENTED'
  | 'INTERNAL'
  | 'UNAVAILABLE'
  | 'DATA_LOSS'
  | 'UNAUTHENTICATED';

/** A failure of a plugin, with its code and text, or of a call of this package. Out of memory is `RESOURCE_EXHAUSTED`. */
export class PjrtError extends Error {
  override readonly name: string = 'PjrtError';
  readonly code: PjrtErrorCode;

  constructor(code: PjrtErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Thrown where there is no plugin, or none that can be loaded. */
export class PluginError extends PjrtError {
  override readonly name = 'PluginError';
}

/** Runs a call of the addon; puts the operation's name before the message of its error, which also gets a stack. */
export function named<T>(operation: string, call: () => T): T {
  const rename = (error: unknown): never => {
    if (!(error instanceof PjrtError)) throw error;
    throw new PjrtError(error.code, `${operation}: ${error.message.trim()}`);
  };
  try {
    const result = call();
    return result instanceof Promise ? (result.catch(rename) as T) : result;
  } catch (error) {
    return rename(error);
  }
}
