/**
 * A .safetensors file or index that cannot be read or written, or tensors that do not fit the format.
 *
 * The message is one line and names the file. `cause` holds the error of the operating system, where it is one.
 */
export class SafetensorsError extends Error {
  override readonly name = 'SafetensorsError';
}

/** Runs a file operation and turns its failure into a {@link SafetensorsError}. */
export async function attempt<T>(doing: string, path: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (cause) {
    if (cause instanceof SafetensorsError) throw cause;
    throw new SafetensorsError(`${path}: cannot ${doing}: ${(cause as Error).message}`, { cause });
  }
}

const SHOWN = 80;

/** A name or shape for a message: quoted, and cut where a hostile file made it long. */
export function show(value: string | readonly number[]): string {
  const text = JSON.stringify(value.slice(0, SHOWN));
  return value.length > SHOWN ? `${text.slice(0, -1)}…` : text;
}
