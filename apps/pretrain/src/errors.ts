import {
  CheckpointError,
  ConfigError,
  ContextLengthError,
  GenerateOptionError,
  TokenInputError,
} from '@meap/llama-model';
import { MaskingError } from '@meap/meap-masking';
import { SafetensorsError } from '@meap/safetensors';
import { BackendError } from '@meap/tensor-kernels';
import { DatasetError, TokenizerError } from '@meap/token-dataset';
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

/** The first line of what was thrown. */
export function reasonOf(error: unknown): string {
  return String((error as { message?: unknown } | undefined)?.message ?? error).split('\n')[0];
}

const USER_ERRORS = [
  BackendError,
  CheckpointError,
  ConfigError,
  ConfigurationError,
  ContextLengthError,
  DatasetError,
  GenerateOptionError,
  MaskingError,
  RunError,
  SafetensorsError,
  TokenInputError,
  TokenizerError,
  TrainerError,
];

/** Whether an error tells its user what to do about it, so that a stack would only be in the way. */
export function isUserError(error: unknown): error is Error {
  // The operating system's refusals (a full disk, no permission) name their file.
  const isSystemError = error instanceof Error && 'syscall' in error && 'code' in error;
  return isSystemError || USER_ERRORS.some((known) => error instanceof known);
}
