import { BadRecordError, DatasetError, rethrow } from './errors.ts';
import { resolveFiles } from './files.ts';
import type { FileFormat } from './formats.ts';
import { openFile } from './open-file.ts';
import { type FileAtHand, readAhead } from './read-ahead.ts';
import { readFileRecords } from './read-records.ts';
import { countNewlines, decodeUtf8, lineOfInvalidUtf8, RecordSplitter } from './records.ts';
import { textOfRecord } from './text-field.ts';

/** A document and where it was found. */
export interface TextDocument {
  readonly text: string;
  readonly file: string;
  /** Line (from 1) at which it starts, or number (from 1) of the row or JSON object. */
  readonly position: number;
}

/** Options of {@link readDocuments}. */
export interface ReadDocumentsOptions {
  /** Paths and globs of files of text, JSON, CSV, TSV (each also inside gzip or zstd) and Parquet. */
  files: string | readonly string[];
  /** What they hold, where content and name do not tell. Default `auto`. */
  format?: FileFormat | 'auto';
  /** Field of a record that holds the text; dots reach into objects. Default `text`. */
  textField?: string;
  /**
   * String between the documents of a text file, such as `<|endoftext|>`.
   * White space around it is dropped, and so are empty pieces. Without it a file is one document.
   */
  separator?: string;
  /** Hears of other names of a file that is read already: links, overlapping patterns. */
  onRepeatedFile?: (path: string) => void;
  /** Hears of a record that cannot be read, which is then skipped; without it the record's error is thrown. */
  onBadRecord?: (error: BadRecordError) => void;
}

/** How the documents of a file are told apart and read. */
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
 * Formats are told as by `readRecords`; a file that holds no records is plain text, and so is whatever is called `.txt`.
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

/** The documents of one file, in groups as they come off the disk. */
export async function* readFileDocuments(
  atHand: FileAtHand,
  options: ReadFileOptions,
): AsyncGenerator<TextDocument[]> {
  const { format, textField: field, separator, onBadRecord, onBytes } = options;
  if (separator === '') {
    throw new DatasetError(
      'separator: got an empty string; leave it out to take a whole file as one document',
    );
  }
  const { file } = atHand;
  const opened = await openFile(atHand, format, true, onBytes);
  if (opened.format === 'text') {
    yield* readText(file.path, opened.chunks, options);
    return;
  }
  for await (const group of readFileRecords(file, opened, { field, onBadRecord, onBytes })) {
    let documents: TextDocument[] = [];
    for (const { record, unit, position } of group) {
      const text = textOfRecord(record, field);
      if (typeof text === 'string') documents.push({ text, file: file.path, position });
      else {
        yield documents;
        documents = [];
        onBadRecord(new BadRecordError(file.path, unit, position, text.reason));
      }
    }
    yield documents;
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
  const parse = (pieces: Buffer[]): TextDocument[] => {
    const documents: TextDocument[] = [];
    for (const bytes of pieces) {
      const content = decodeUtf8(bytes);
      if (content === undefined) {
        const reason = 'not valid UTF-8';
        onBadRecord(new BadRecordError(path, 'line', line + lineOfInvalidUtf8(bytes), reason));
      } else {
        const text = separator === undefined ? content : content.trim();
        if (text !== '') documents.push({ text, file: path, position: line });
      }
      line += countNewlines(bytes) + separatorLines;
    }
    return documents;
  };
  try {
    for await (const chunk of chunks) yield parse(splitter.push(chunk));
    yield parse([splitter.end()]);
  } finally {
    await chunks.return(undefined);
  }
}
