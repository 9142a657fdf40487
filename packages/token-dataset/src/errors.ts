/** An error of a corpus, a prepared dataset or the options for it; a message of one line for users. */
export class DatasetError extends Error {
  override readonly name: string = 'DatasetError';

  constructor(message: string) {
    super(oneLine(message));
  }
}

/** An error of a tokenizer, its files or the requested vocabulary. */
export class TokenizerError extends Error {
  override readonly name: string = 'TokenizerError';
}

/** An error of a chat template: missing, damaged, or unsuitable for the tokenizer or the conversation. */
export class TemplateError extends Error {
  override readonly name = 'TemplateError';
}

/** An error of a single record: a line of text or JSONL, or a row of another file. */
export class BadRecordError extends DatasetError {
  override readonly name: string = 'BadRecordError';
  /** Path of the file. */
  readonly file: string;
  readonly unit: 'line' | 'row';
  /** Line or row, from 1. */
  readonly position: number;
  /** The problem, without file and position. */
  readonly reason: string;

  constructor(file: string, unit: 'line' | 'row', position: number, reason: string) {
    super(`${file}, ${unit} ${position}: ${reason}; fix it, or skip bad records with onBadRecord`);
    this.file = file;
    this.unit = unit;
    this.position = position;
    this.reason = oneLine(reason);
  }
}

export function rethrow(error: BadRecordError): never {
  throw error;
}

/** Excerpts of files may span several lines and contain control codes that a terminal would execute. */
function oneLine(text: string): string {
  return text.replace(/\s*[\p{Cc}\u2028\u2029]+\s*/gu, ' ');
}

/** A count with its noun, such as `1 file` or `2 files`. */
export function counted(value: number, one: string): string {
  return `${value.toLocaleString('en')} ${one}${value === 1 ? '' : 's'}`;
}

/** The first line of any thrown value. */
export function reasonOf(error: unknown): string {
  // Errors from worker processes are plain objects.
  const { message } = error as { message?: unknown };
  return String(message ?? error).split('\n')[0];
}
