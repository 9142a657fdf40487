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

/** A run that is not ready to start: its `problems` are one line each. */
export class NotReadyError extends Error {
  override readonly name = 'NotReadyError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/** Collects what is wrong with a plan, so that one problem does not hide the next. */
export class Problems {
  readonly #isUserError: (error: unknown) => error is Error;
  readonly #found = new Set<string>();

  /** @param isUserError which errors are the user's; others are thrown on */
  constructor(isUserError: (error: unknown) => error is Error) {
    this.#isUserError = isUserError;
  }

  /** What was found, in order, each once. */
  get list(): readonly string[] {
    return [...this.#found];
  }

  /** Notes problems that were found elsewhere. */
  add(problems: Iterable<string>): void {
    for (const problem of problems) this.#found.add(problem);
  }

  /** The result of an action; undefined where it threw an error of the user's, which is noted. */
  async attempt<T>(action: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await action();
    } catch (error) {
      if (!this.#isUserError(error)) throw error;
      this.add((error as Partial<NotReadyError>).problems ?? [error.message]);
      return undefined;
    }
  }

  /** @throws NotReadyError unless there are none */
  throwIfAny(): void {
    if (this.#found.size > 0) throw new NotReadyError(this.list);
  }
}

/** What the packages throw that every command is made of. */
const EVERYWHERE = [
  BackendError,
  CollectivesError,
  ConfigurationError,
  NotReadyError,
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
