/** A model configuration that is malformed, impossible or asks for what this package does not do. */
export class ConfigError extends Error {
  /** Where in the configuration, as in `config.hidden_act`. */
  readonly path: string;
  /** The refused value. */
  readonly value: unknown;
  /** What would have been accepted. */
  readonly allowed: string;

  constructor(path: string, value: unknown, allowed: string, fix?: string) {
    super(`${path}: refused, got ${show(value)}, expected ${allowed}${fix ? `; ${fix}` : ''}`);
    this.name = 'ConfigError';
    this.path = path;
    this.value = value;
    this.allowed = allowed;
  }
}

/** A checkpoint directory that does not hold the model its config.json describes. */
export class CheckpointError extends Error {
  /** Names of the tensors that are missing, unexpected, misshapen or not finite; empty where it is about a file. */
  readonly tensors: readonly string[];

  constructor(message: string, tensors: readonly string[] = [], options?: ErrorOptions) {
    super(message, options);
    this.name = 'CheckpointError';
    this.tensors = tensors;
  }
}

/** A low-rank adapter that cannot be: its options, its files, or what is asked of a model that has one. */
export class AdapterError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'AdapterError';
  }
}

/** A token id that the vocabulary does not hold, or input of the wrong shape. */
export class TokenInputError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'TokenInputError';
  }
}

/** More positions than the model's context has (`contextLengthOf`). */
export class ContextLengthError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ContextLengthError';
  }
}

/** An option of `generate` that cannot be, such as a negative temperature. */
export class GenerateOptionError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'GenerateOptionError';
  }
}

function show(value: unknown): string {
  let text: string;
  try {
    text = JSON.stringify(value) ?? String(value);
  } catch {
    // Nested deeper than the stack.
    return 'values nested too deeply';
  }
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
