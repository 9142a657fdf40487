import { CollectivesError } from '@meap/collectives';
import { SafetensorsError } from '@meap/safetensors';
import { BackendError } from '@meap/tensor-kernels';
import { TrainerError } from '@meap/trainer';

/** A configuration that cannot be: its `problems` are one line each, with path, value and what is allowed. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/** A run that cannot start as asked for: its folder cannot be written, or is not empty with `--resume never`. */
export class RunError extends Error {
  override readonly name = 'RunError';
}

/** What the packages throw that every command is made of. */
const EVERYWHERE = [
  BackendError,
  CollectivesError,
  ConfigurationError,
  RunError,
  SafetensorsError,
  TrainerError,
] as const;

/**
 * Makes the test whether an error tells its user what to do about it, so that a stack would only be in the way: one of
 * some classes or of those of every command, or the operating system's refusal.
 */
export function userErrorTest(
  classes: readonly (new (...args: never[]) => Error)[],
): (error: unknown) => error is Error {
  const known = [...EVERYWHERE, ...classes];
  return (error): error is Error => {
    // A full disk, no permission: these name their file.
    const isSystemError = error instanceof Error && 'syscall' in error && 'code' in error;
    return isSystemError || known.some((one) => error instanceof one);
  };
}

/** Whether the system gave no more memory: to JavaScript's arrays, to the kernels, or to a GPU. */
export function isOutOfMemory(error: unknown): error is Error {
  return (
    error instanceof Error &&
    /allocation failed|bad_alloc|out of memory|ENOMEM|ERR_WORKER_OUT_OF_MEMORY/i.test(
      `${error.message} ${error.name}`,
    )
  );
}

/** The first line of what was thrown. */
export function reasonOf(error: unknown): string {
  return String((error as { message?: unknown } | undefined)?.message ?? error).split('\n')[0];
}
