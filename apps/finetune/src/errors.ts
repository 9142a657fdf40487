import {
  AdapterError,
  CheckpointError,
  ConfigError,
  ContextLengthError,
  GenerateOptionError,
  TokenInputError,
} from '@meap/llama-model';
import { userErrorTest } from '@meap/recipe-cli';
import { SftError } from '@meap/sft-duplication';
import { DatasetError, TemplateError, TokenizerError } from '@meap/token-dataset';

/** Conversations that cannot be trained on: a record of the wrong form, or nothing left to learn from. */
export class ChatDataError extends Error {
  override readonly name = 'ChatDataError';
}

/** Whether an error tells its user what to do about it, so that a stack would only be in the way. */
export const isUserError = userErrorTest([
  AdapterError,
  ChatDataError,
  CheckpointError,
  ConfigError,
  ContextLengthError,
  DatasetError,
  GenerateOptionError,
  SftError,
  TemplateError,
  TokenInputError,
  TokenizerError,
]);
