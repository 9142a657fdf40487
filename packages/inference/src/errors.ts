import {
  AdapterError,
  CheckpointError,
  ConfigError,
  ContextLengthError,
  GenerateOptionError,
  TokenInputError,
} from '@meap/llama-model';
import { DatasetError, TemplateError, TokenizerError } from '@meap/token-dataset';

/** A folder that is not a model, or a request that the model cannot process. */
export class ModelError extends Error {
  override readonly name = 'ModelError';
}

/** Errors of models, tokenizers and data whose message tells the user what to do; a program prints it without a stack. */
export const modelErrors = [
  AdapterError,
  CheckpointError,
  ConfigError,
  ContextLengthError,
  DatasetError,
  GenerateOptionError,
  ModelError,
  TemplateError,
  TokenInputError,
  TokenizerError,
] as const;
