import { EvalsError, JudgeError } from '@meap/evals';
import {
  AdapterError,
  CheckpointError,
  ConfigError,
  ContextLengthError,
  GenerateOptionError,
  TokenInputError,
} from '@meap/llama-model';
import { ConfigurationError, RunError, userErrorTest } from '@meap/recipe-cli';
import { SafetensorsError } from '@meap/safetensors';
import { BackendError } from '@meap/tensor-kernels';
import { DatasetError, TokenizerError } from '@meap/token-dataset';
import { TrainerError } from '@meap/trainer';

/** A model that cannot be evaluated: its folder is not one of a model, or a request does not fit it. */
export class ModelError extends Error {
  override readonly name = 'ModelError';
}

/** Whether an error tells its user what to do about it, so that a stack would only be in the way. */
export const isUserError = userErrorTest([
  AdapterError,
  BackendError,
  CheckpointError,
  ConfigError,
  ConfigurationError,
  ContextLengthError,
  DatasetError,
  EvalsError,
  GenerateOptionError,
  JudgeError,
  ModelError,
  RunError,
  SafetensorsError,
  TokenInputError,
  TokenizerError,
  TrainerError,
]);
