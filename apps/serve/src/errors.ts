import { ModelError } from '@meap/inference';
import {
  AdapterError,
  CheckpointError,
  ConfigError,
  ContextLengthError,
  GenerateOptionError,
  TokenInputError,
} from '@meap/llama-model';
import { userErrorTest } from '@meap/recipe-cli';
import { DatasetError, TemplateError, TokenizerError } from '@meap/token-dataset';

/** Whether an error is shown to the user as one line, without a stack. */
export const isUserError = userErrorTest([
  AdapterError,
  CheckpointError,
  ConfigError,
  ContextLengthError,
  DatasetError,
  GenerateOptionError,
  ModelError,
  TokenInputError,
  TemplateError,
  TokenizerError,
]);
