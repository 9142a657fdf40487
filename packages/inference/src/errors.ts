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

/** An error of the system while a file is written, such as a full disk, as one that a user understands; others unchanged. */
export function writeError(path: string, error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ? new ModelError(`${path}: cannot be written: ${message}`, { cause: error }) : error;
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
