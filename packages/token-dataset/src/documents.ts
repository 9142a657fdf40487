import { BadRecordError, DatasetError, rethrow } from './errors.ts';
import { resolveFiles } from './files.ts';
import type { FileFormat } from './formats.ts';
import { openFile } from './open-file.ts';
import { type FileAtHand, readAhead } from './read-ahead.ts';
import { readFileRecords } from './read-records.ts';
import { countNewlines, decodeUtf8, lineOfInvalidUtf8, RecordSplitter, withoutBad } from './records.ts';
import { textOfRecord } from './text-field.ts';

/** A document and its position in its file. */
export interface TextDocument {
  readonly text: string;
  readonly file: string;
  /** Line (from 1) at which it starts, or number (from 1) of the row or JSON object. */
  readonly position: number;
}

/** Options that say how documents are read from files. */
export interface DocumentOptions {
  /** Format of the files, where content and name do not tell. Default `auto`. */
  format?: FileFormat | 'auto';
  /** Field of a record that holds the text; dots reach into objects. Default `text`. */
  textField?: string;
  /**
   * String between the documents of a text file, such as `<|endoftext|>`. White space around it and empty documents are
   * dropped. By default a file is one document.
   */
  separator?: string;
}

/** Options of {@link readDocuments}. */
export interface ReadDocumentsOptions extends DocumentOptions {
  /** Paths and globs of text, JSON, CSV and TSV files, which may be compressed with gzip or zstd, and of Parquet files. */
  files: string | readonly string[];
  /** Called with every other name of a file that is already read: links, overlapping patterns. */
  onRepeatedFile?: (path: string) => void;
  /** Called with the error of a bad record, which is then skipped; by default the error is thrown. */
  onBadRecord?: (error: BadRecordError) => void;
}

/** {@link DocumentOptions} with their defaults. */
export interface DocumentSettings {
  readonly format: FileFormat | 'auto';
  readonly textField: string;
  readonly separator: string | undefined;
}

export interface ReadFileOptions extends DocumentSettings {
  readonly onBadRecord: (error: BadRecordError) => void;
  readonly onBytes: (numBytes: number) => void;
}

/**
 * Streams the documents of many files, in the order of the files.
 *
 * Formats are recognized as by `readRecords`; a file without records is plain text, and so is any file named `.txt`.
 * Memory holds one document and a buffer (for Parquet: the text column of one row group).
 *
 * @throws DatasetError for a missing file, a glob without a match, an unknown format, damaged compression.
 * @throws BadRecordError (a DatasetError) for a record that is not UTF-8, not JSON, or lacks a string in the field.
 */
export async function* readDocuments(options: ReadDocumentsOptions): AsyncGenerator<TextDocument> {
  const { format = 'auto', textField = 'text', separator, onBadRecord = rethrow } = options;
  for (const file of readAhead(await resolveFiles(options.files, options.onRepeatedFile))) {
    const read = { format, textField, separator, onBadRecord, onBytes: () => {} };
    for await (const documents of readFileDocuments(file, read)) yield* documents;
  }
}

/** The documents of one file, in groups as they are read from disk. */
export async function* readFileDocuments(
  atHand: FileAtHand,
  options: ReadFileOptions,
): AsyncGenerator<TextDocument[]> {
  const { format, textField: field, separator, onBadRecord, onBytes } = options;
  if (separator === '') {
    throw new DatasetError('separator: got an empty string; omit it to read a whole file as one document');
  }
  const { file } = atHand;
  const opened = await openFile(atHand, format, true, onBytes);
  if (opened.format === 'text') {
    yield* readText(file.path, opened.chunks, options);
    return;
  }
  for await (const group of readFileRecords(file, opened, { field, onBadRecord, onBytes })) {
    const documents = group.map(({ record, unit, position }) => {
      const text = textOfRecord(record, field);
      if (typeof text === 'string') return { text, file: file.path, position };
      return new BadRecordError(file.path, unit, position, text.reason);
    });
    yield* withoutBad<TextDocument>(documents, onBadRecord);
  }
}

async function* readText(
  path: string,
  chunks: AsyncGenerator<Uint8Array>,
  { separator, onBadRecord }: ReadFileOptions,
): AsyncGenerator<TextDocument[]> {
  const splitter = new RecordSplitter(path, separator);
  const separatorLines = separator ? countNewlines(Buffer.from(separator)) : 0;
  let line = 1;
  const parse = (bytes: Buffer): TextDocument | BadRecordError | undefined => {
    const content = decodeUtf8(bytes);
    const position = line;
    line += countNewlines(bytes) + separatorLines;
    if (content === undefined) {
      return new BadRecordError(path, 'line', position + lineOfInvalidUtf8(bytes), 'not valid UTF-8');
    }
    const text = separator === undefined ? content : content.trim();
    return text === '' ? undefined : { text, file: path, position };
  };
  try {
    for await (const chunk of chunks) yield* withoutBad(splitter.push(chunk).map(parse), onBadRecord);
    yield* withoutBad([parse(splitter.end())], onBadRecord);
  } finally {
    await chunks.return(undefined);
  }
}
