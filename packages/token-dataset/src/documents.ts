import { BadRecordError, DatasetError } from './errors.ts';
import { resolveFiles, type SourceFile } from './files.ts';
import { readParquetRows } from './parquet.ts';
import { countNewlines, decodeUtf8, lineOfInvalidUtf8, RecordSplitter, readChunks } from './records.ts';
import { textOfJson } from './text-field.ts';

/** A document and where it was found. */
export interface TextDocument {
  readonly text: string;
  readonly file: string;
  /** Line (from 1) at which it starts, or row (from 1) of a Parquet file. */
  readonly position: number;
}

/** Options of {@link readDocuments}. */
export interface ReadDocumentsOptions {
  /** Paths and globs of `.txt`, `.jsonl` (both also `.gz`, `.zst`) and `.parquet` files. */
  files: string | readonly string[];
  /** Field of a JSONL or Parquet record that holds the text; dots reach into objects. Default `text`. */
  textField?: string;
  /**
   * String between the documents of a `.txt` file, such as `<|endoftext|>`.
   * White space around it is dropped, and so are empty pieces. Without it a file is one document.
   */
  separator?: string;
  /** Hears of a record that cannot be read, which is then skipped; without it the record's error is thrown. */
  onBadRecord?: (error: BadRecordError) => void;
}

export interface ReadFileOptions {
  textField: string;
  separator: string | undefined;
  onBadRecord: (error: BadRecordError) => void;
  onBytes: (numBytes: number) => void;
}

/**
 * Streams the documents of many files, in the order of the files.
 *
 * Memory holds one document and a buffer (for Parquet: the text column of one row group).
 *
 * @throws DatasetError for a missing file, a glob without a match, an unknown extension, damaged compression.
 * @throws BadRecordError (a DatasetError) for a record that is not UTF-8, not JSON, or lacks a string in the field.
 */
export async function* readDocuments(options: ReadDocumentsOptions): AsyncGenerator<TextDocument> {
  const { textField = 'text', separator } = options;
  const onBadRecord = options.onBadRecord ?? rethrow;
  for (const file of await resolveFiles(options.files)) {
    const read = { textField, separator, onBadRecord, onBytes: () => {} };
    for await (const documents of readFileDocuments(file, read)) yield* documents;
  }
}

export function rethrow(error: BadRecordError): never {
  throw error;
}

/** The documents of one file, in groups as they come off the disk. */
export function readFileDocuments(
  file: SourceFile,
  options: ReadFileOptions,
): AsyncGenerator<TextDocument[]> {
  if (options.separator === '') {
    throw new DatasetError(
      'separator: got an empty string; leave it out to take a whole file as one document',
    );
  }
  if (file.format === 'parquet') return readParquetRows(file, options);
  return file.format === 'jsonl' ? readJsonLines(file, options) : readText(file, options);
}

async function* readJsonLines(file: SourceFile, options: ReadFileOptions): AsyncGenerator<TextDocument[]> {
  const { path } = file;
  const splitter = new RecordSplitter(path, '\n');
  let line = 0;
  const parse = (lines: Buffer[]): TextDocument[] => {
    const documents: TextDocument[] = [];
    for (const bytes of lines) {
      line++;
      const content = decodeUtf8(bytes);
      if (content === undefined) {
        options.onBadRecord(new BadRecordError(path, 'line', line, 'not valid UTF-8'));
        continue;
      }
      // Trimming also takes a byte order mark; a blank line is no record.
      const json = content.trim();
      if (json === '') continue;
      const text = textOfJson(json, options.textField);
      if (typeof text === 'string') documents.push({ text, file: path, position: line });
      else options.onBadRecord(new BadRecordError(path, 'line', line, text.reason));
    }
    return documents;
  };
  for await (const chunk of readChunks(file, options.onBytes)) yield parse(splitter.push(chunk));
  yield parse([splitter.end()]);
}

async function* readText(file: SourceFile, options: ReadFileOptions): AsyncGenerator<TextDocument[]> {
  const { path } = file;
  const splitter = new RecordSplitter(path, options.separator);
  const separatorLines = options.separator ? countNewlines(Buffer.from(options.separator)) : 0;
  let line = 1;
  let first = true;
  const parse = (pieces: Buffer[]): TextDocument[] => {
    const documents: TextDocument[] = [];
    for (const bytes of pieces) {
      const content = decodeUtf8(bytes);
      if (content === undefined) {
        const reason = 'not valid UTF-8';
        options.onBadRecord(new BadRecordError(path, 'line', line + lineOfInvalidUtf8(bytes), reason));
      } else {
        const unmarked = first ? content.replace(/^\uFEFF/, '') : content;
        const text = options.separator === undefined ? unmarked : unmarked.trim();
        if (text !== '') documents.push({ text, file: path, position: line });
      }
      first = false;
      line += countNewlines(bytes) + separatorLines;
    }
    return documents;
  };
  for await (const chunk of readChunks(file, options.onBytes)) yield parse(splitter.push(chunk));
  yield parse([splitter.end()]);
}
