import type { DataRecord, RecordReading } from './data-record.ts';
import { type BadRecordError, rethrow } from './errors.ts';
import { resolveFiles, type SourceFile } from './files.ts';
import type { RecordFormat } from './formats.ts';
import { type JsonPiece, JsonSplitter } from './json-splitter.ts';
import { type OpenedFile, openFile } from './open-file.ts';
import { readAhead } from './read-ahead.ts';
import { decodeUtf8, excerptOf, isObject, RecordSplitter, recordAt, withoutBad } from './records.ts';

/** Options of {@link readRecords}. */
export interface ReadRecordsOptions {
  /** Paths and globs of JSON, CSV and TSV files, which may be compressed with gzip or zstd, and of Parquet files. */
  files: string | readonly string[];
  /** Format of the files, where content and name do not tell. Default `auto`. */
  format?: RecordFormat | 'auto';
  /** Called with every other name of a file that is already read: links, overlapping patterns. */
  onRepeatedFile?: (path: string) => void;
  /** Called with the error of a bad record, which is then skipped; by default the error is thrown. */
  onBadRecord?: (error: BadRecordError) => void;
}

/**
 * Streams whole records, with all their fields, in the order of the files.
 *
 * The content decides the format: JSON lines; one array of objects; one object with such an array in `data`; objects
 * one after the other, each on any number of lines; Parquet. CSV and TSV are recognized by name; their first row names
 * the fields, whose values are strings. Memory holds one record, or one row group of Parquet.
 *
 * @throws DatasetError for a missing file, a glob without a match, an unknown format, damaged compression.
 * @throws BadRecordError (a DatasetError) for a record that is not UTF-8, not JSON, not an object, or has more or fewer
 *   fields than the first row of its CSV file.
 */
export async function* readRecords(options: ReadRecordsOptions): AsyncGenerator<DataRecord> {
  const { format = 'auto', onBadRecord = rethrow } = options;
  for (const atHand of readAhead(await resolveFiles(options.files, options.onRepeatedFile))) {
    const opened = await openFile(atHand, format, false, () => {});
    const reading = { onBadRecord, onBytes: () => {} };
    for await (const group of readFileRecords(atHand.file, opened, reading)) yield* group;
  }
}

/** The records of a file that is not plain text, in groups as they are read from disk. */
export async function* readFileRecords(
  file: SourceFile,
  { format, chunks }: OpenedFile,
  reading: RecordReading,
): AsyncGenerator<DataRecord[]> {
  const { path } = file;
  const { onBadRecord } = reading;
  try {
    if (format === 'jsonl') yield* jsonLines(path, chunks, onBadRecord);
    else if (format === 'json') yield* jsonValues(path, chunks, reading);
    else if (format === 'parquet') {
      // The readers of Parquet and CSV are larger than the rest of this package.
      const { readParquetRecords } = await import('./parquet.ts');
      yield* readParquetRecords(file, reading);
    } else {
      const { readCsvRecords } = await import('./csv.ts');
      yield* readCsvRecords(path, chunks, format === 'tsv' ? '\t' : ',', onBadRecord);
    }
  } finally {
    await chunks.return(undefined);
  }
}

async function* jsonLines(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  onBadRecord: (error: BadRecordError) => void,
): AsyncGenerator<DataRecord[]> {
  const splitter = new RecordSplitter(path, '\n');
  let position = 0;
  const parse = (lines: readonly Buffer[]) => {
    const records = lines.map((bytes) => {
      const parsed = parseRecord(bytes);
      position++;
      return parsed === undefined ? undefined : recordAt(path, 'line', position, parsed);
    });
    return withoutBad(records, onBadRecord);
  };
  for await (const chunk of chunks) yield* parse(splitter.push(chunk));
  yield* parse([splitter.end()]);
}

async function* jsonValues(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  { onBadRecord, field }: RecordReading,
): AsyncGenerator<DataRecord[]> {
  const splitter = new JsonSplitter(path);
  let position = 0;
  /** A first object that wraps a list, unless another object follows: then it is a record itself. */
  let wrapper: Record<string, unknown> | undefined;
  const group = (entries: readonly (Record<string, unknown> | string)[]) =>
    withoutBad(
      entries.map((entry) => recordAt(path, 'row', ++position, entry)),
      onBadRecord,
    );
  const parse = (pieces: readonly JsonPiece[]) => {
    const entries: (Record<string, unknown> | string)[] = [];
    for (const { bytes, isTop } of pieces) {
      const parsed = parseRecord(bytes);
      if (parsed === undefined) continue;
      if (wrapper) entries.push(wrapper);
      wrapper = undefined;
      const isFirst = isTop && position + entries.length === 0;
      if (isFirst && isObject(parsed) && wrappedList(parsed, field)) wrapper = parsed;
      else entries.push(parsed);
    }
    return group(entries);
  };
  for await (const chunk of chunks) yield* parse(splitter.push(chunk));
  yield* parse(splitter.end());
  if (wrapper) yield* group(wrappedList(wrapper, field)!.map(objectOrReason));
}

/** The records of an object that only wraps them in `data`, as in SQuAD and many other data sets. */
function wrappedList(
  { data, ...rest }: Record<string, unknown>,
  field: string | undefined,
): unknown[] | undefined {
  if (!Array.isArray(data) || (data.length > 0 && !data.some(isObject))) return undefined;
  // An object that also has the field, or a list of objects such as messages, is a record.
  if (field !== undefined && Object.hasOwn(rest, field)) return undefined;
  const hasOther = Object.values(rest).some((value) => Array.isArray(value) && value.some(isObject));
  return hasOther ? undefined : data;
}

/** A record, the reason why it is none, or undefined for a blank line. */
function parseRecord(bytes: Uint8Array): Record<string, unknown> | string | undefined {
  const content = decodeUtf8(bytes);
  if (content === undefined) return 'not valid UTF-8';
  // Trimming also removes a byte order mark.
  const json = content.trim();
  if (json === '') return undefined;
  try {
    const value: unknown = JSON.parse(json);
    return isObject(value) ? value : `not an object, got ${excerptOf(json)}`;
  } catch {
    return `malformed JSON, got ${excerptOf(json)}`;
  }
}

function objectOrReason(value: unknown): Record<string, unknown> | string {
  return isObject(value) ? value : `not an object, got ${excerptOf(value)}`;
}
