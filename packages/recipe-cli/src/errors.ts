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

/** The first line of what was thrown. */
export function reasonOf(error: unknown): string {
  return String((error as { message?: unknown } | undefined)?.message ?? error).split('\n')[0];
}
