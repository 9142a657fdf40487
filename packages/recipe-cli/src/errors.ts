import { CollectivesError } from '@meap/collectives';
import { SafetensorsError } from '@meap/safetensors';
import { BackendError } from '@meap/tensor-kernels';
import { TrainerError } from '@meap/trainer';

/** Thrown for an invalid configuration. Each of its `problems` is one line with path, value and allowed values. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/** Thrown for a run that cannot start, such as one without memory or with an unwritable folder. */
export class RunError extends Error {
  override readonly name = 'RunError';
}

/** Thrown for a run that is not ready to start. Each of its `problems` is one line. */
export class NotReadyError extends Error {
  override readonly name = 'NotReadyError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/** Collects problems, so that one does not hide the next. */
export class Problems {
  readonly #isUserError: (error: unknown) => error is Error;
  readonly #found = new Set<string>();

  /** @param isUserError which errors to collect; others are rethrown */
  constructor(isUserError: (error: unknown) => error is Error) {
    this.#isUserError = isUserError;
  }

  /** The problems in order, without duplicates. */
  get list(): readonly string[] {
    return [...this.#found];
  }

  /** Adds problems. */
  add(problems: Iterable<string>): void {
    for (const problem of problems) this.#found.add(problem);
  }

  /** Returns the result of an action; collects a user error and then returns undefined. */
  async attempt<T>(action: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await action();
    } catch (error) {
      if (!this.#isUserError(error)) throw error;
      this.add((error as Partial<NotReadyError>).problems ?? [error.message]);
      return undefined;
    }
  }

  /** @throws NotReadyError if there are problems */
  throwIfAny(): void {
    if (this.#found.size > 0) throw new NotReadyError(this.list);
  }
}

/** User errors of the packages that every command uses. */
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
 * Returns a test for errors that are shown to the user as one line, without a stack: those of `classes`, those of every
 * command, and errors of the operating system.
 */
export function userErrorTest(
  classes: readonly (new (...args: never[]) => Error)[],
): (error: unknown) => error is Error {
  const known = [...EVERYWHERE, ...classes];
  return (error): error is Error => {
    // A full disk or a missing permission; the message names the file.
    const isSystemError = error instanceof Error && 'syscall' in error && 'code' in error;
    return isSystemError || known.some((one) => error instanceof one);
  };
}

/** Whether an error means that memory ran out: for JavaScript's arrays, the kernels or a GPU. */
export function isOutOfMemory(error: unknown): error is Error {
  return (
    error instanceof Error &&
    /allocation failed|bad_alloc|out of memory|ENOMEM|ERR_WORKER_OUT_OF_MEMORY/i.test(
      `${error.message} ${error.name}`,
    )
  );
}

/** Returns the first line of an error's message. */
export function reasonOf(error: unknown): string {
  return String((error as { message?: unknown } | undefined)?.message ?? error).split('\n')[0];
}
