import {
  CheckpointError,
  ConfigError,
  ContextLengthError,
  GenerateOptionError,
  TokenInputError,
} from '@meap/llama-model';
import { MaskingError } from '@meap/meap-masking';
import { userErrorTest } from '@meap/recipe-cli';
import { DatasetError, TokenizerError } from '@meap/token-dataset';

/** Whether an error tells its user what to do about it, so that a stack would only be in the way. */
export const isUserError = userErrorTest([
  CheckpointError,
  ConfigError,
  ContextLengthError,
  DatasetError,
  GenerateOptionError,
  MaskingError,
  TokenInputError,
  TokenizerError,
]);
