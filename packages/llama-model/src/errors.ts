/** A malformed or impossible model configuration, or one that this package does not implement. */
export class ConfigError extends Error {
  /** Path in the configuration, such as `config.hidden_act`. */
  readonly path: string;
  /** The refused value. */
  readonly value: unknown;
  /** Accepted values. */
  readonly allowed: string;

  constructor(path: string, value: unknown, allowed: string, fix?: string) {
    super(`${path}: refused, got ${show(value)}, expected ${allowed}${fix ? `; ${fix}` : ''}`);
    this.name = 'ConfigError';
    this.path = path;
    this.value = value;
    this.allowed = allowed;
  }
}

/** A checkpoint directory that does not match its config.json. */
export class CheckpointError extends Error {
  /** Names of tensors that are missing, unexpected, of the wrong shape or not finite; empty for errors of a file. */
  readonly tensors: readonly string[];

  constructor(message: string, tensors: readonly string[] = [], options?: ErrorOptions) {
    super(message, options);
    this.name = 'CheckpointError';
    this.tensors = tensors;
  }
}

/** Invalid options or files of a low-rank adapter, or an operation that the model's adapter rules out. */
export class AdapterError extends Error {
  override name = 'AdapterError';
}

/** A token id outside the vocabulary, or input of the wrong shape. */
export class TokenInputError extends Error {
  override name = 'TokenInputError';
}

/** More positions than the model's context has (`contextLengthOf`). */
export class ContextLengthError extends Error {
  override name = 'ContextLengthError';
}

/** An invalid option of `generate`, such as a negative temperature. */
export class GenerateOptionError extends Error {
  override name = 'GenerateOptionError';
}

function show(value: unknown): string {
  let text: string;
  try {
    text = JSON.stringify(value) ?? String(value);
  } catch {
    // Nested too deeply for the stack.
    return 'values nested too deeply';
  }
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
