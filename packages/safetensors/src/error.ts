/**
 * Thrown for files that cannot be read or written, and for tensors that the format cannot hold.
 *
 * The message is one line and names the file. `cause` is the error of the operating system, if there is one.
 */
export class SafetensorsError extends Error {
  override readonly name = 'SafetensorsError';
}

/** Runs a file operation; its error becomes a {@link SafetensorsError}. */
export async function attempt<T>(doing: string, path: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (cause) {
    if (cause instanceof SafetensorsError) throw cause;
    throw new SafetensorsError(`${path}: cannot ${doing}: ${(cause as Error).message}`, { cause });
  }
}

const SHOWN = 80;

/** Quotes a name or shape for a message and cuts it to a readable length. */
export function show(value: string | readonly number[]): string {
  const text = JSON.stringify(value.slice(0, SHOWN));
  return value.length > SHOWN ? `${text.slice(0, -1)}…` : text;
}
