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
import { SftError } from '@meap/sft-duplication';
import { BackendError } from '@meap/tensor-kernels';
import { DatasetError, TemplateError, TokenizerError } from '@meap/token-dataset';
import { TrainerError } from '@meap/trainer';

/** Conversations that cannot be trained on: a record of the wrong form, or nothing left to learn from. */
export class ChatDataError extends Error {
  override readonly name = 'ChatDataError';
}

/** Whether an error tells its user what to do about it, so that a stack would only be in the way. */
export const isUserError = userErrorTest([
  AdapterError,
  BackendError,
  ChatDataError,
  CheckpointError,
  ConfigError,
  ConfigurationError,
  ContextLengthError,
  DatasetError,
  GenerateOptionError,
  RunError,
  SafetensorsError,
  SftError,
  TemplateError,
  TokenInputError,
  TokenizerError,
  TrainerError,
]);
