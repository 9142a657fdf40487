/** What is wrong with a corpus, a prepared dataset or how it is asked for; one line, fit to show to a user. */
export class DatasetError extends Error {
  override readonly name: string = 'DatasetError';

  constructor(message: string) {
    super(oneLine(message));
  }
}

/** What is wrong with a tokenizer, its files or the vocabulary asked of it. */
export class TokenizerError extends Error {
  override readonly name: string = 'TokenizerError';
}

/** A chat template that is missing, damaged, or does not suit the tokenizer or the conversation. */
export class TemplateError extends Error {
  override readonly name = 'TemplateError';
}

/** A single record that cannot become a document: a line of text or JSONL, or a row of a Parquet file. */
export class BadRecordError extends DatasetError {
  override readonly name: string = 'BadRecordError';
  /** Path of the file. */
  readonly file: string;
  readonly unit: 'line' | 'row';
  /** Line (from 1) in a text file, row (from 1) in a Parquet file. */
  readonly position: number;
  /** What is wrong, without the place. */
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

/** Excerpts of files and names in them may go over several lines, and hold codes that a terminal would obey. */
function oneLine(text: string): string {
  return text.replace(/\s*[\p{Cc}\u2028\u2029]+\s*/gu, ' ');
}

/** A count with its noun: 1 file, 2 files. */
export function counted(value: number, one: string): string {
  return `${value.toLocaleString('en')} ${one}${value === 1 ? '' : 's'}`;
}

/** The first line of any thrown value, for one-line messages that name their cause. */
export function reasonOf(error: unknown): string {
  // Errors of worker processes arrive as plain objects.
  const { message } = error as { message?: unknown };
  return String(message ?? error).split('\n')[0];
}
