import {
  CheckpointError,
  ConfigError,
  ContextLengthError,
  GenerateOptionError,
  TokenInputError,
} from '@meap/llama-model';
import { MaskingError } from '@meap/meap-masking';
import { ConfigurationError, RunError, userErrorTest } from '@meap/recipe-cli';
import { SafetensorsError } from '@meap/safetensors';
import { BackendError } from '@meap/tensor-kernels';
import { DatasetError, TokenizerError } from '@meap/token-dataset';
import { TrainerError } from '@meap/trainer';

/** Whether an error tells its user what to do about it, so that a stack would only be in the way. */
export const isUserError = userErrorTest([
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
]);
