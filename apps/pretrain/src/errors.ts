import {
  CheckpointError,
  ConfigError,
  ContextLengthError,
  GenerateOptionError,
  TokenInputError,
} from '@meap/llama-model';
import { MaskingError } from '@meap/meap-masking';
import { ConfigurationError, RunError } from '@meap/recipe-cli';
import { SafetensorsError } from '@meap/safetensors';
import { BackendError } from '@meap/tensor-kernels';
import { DatasetError, TokenizerError } from '@meap/token-dataset';
import { TrainerError } from '@meap/trainer';

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
