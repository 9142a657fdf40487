import { readCsvRecords } from './csv.ts';
import { rethrow } from './documents.ts';
import { BadRecordError, DatasetError } from './errors.ts';
import { RECORD_FORMATS, resolveFiles, type SourceFile } from './files.ts';
import { readParquetRecords } from './parquet.ts';
import { decodeUtf8, RecordSplitter, readChunks } from './records.ts';

/** A record and where it was found. */
export interface DataRecord {
  readonly record: Readonly<Record<string, unknown>>;
  readonly file: string;
  /** What `position` counts from 1: lines of JSONL, rows of Parquet and CSV, entries of a JSON list. */
  readonly unit: 'line' | 'row';
  readonly position: number;
}

/** Options of {@link readRecords}. */
export interface ReadRecordsOptions {
  /** Paths and globs of `.json` (a list of objects), `.jsonl`, `.csv` (each also `.gz`, `.zst`), `.parquet` files. */
  files: string | readonly string[];
  /** Hears of a record that cannot be read, which is then skipped; without it the record's error is thrown. */
  onBadRecord?: (error: BadRecordError) => void;
}

/**
 * Streams whole records, with all their fields, in the order of the files.
 *
 * A `.json` file that holds a record a line, as many do, is read as such. The first row of a `.csv` file names the
 * fields, whose values are texts. Memory holds one record of JSONL or CSV, one row group of Parquet, a whole file of
 * JSON.
 *
 * @throws DatasetError for a missing file, a glob without a match, an unknown extension, damaged compression.
 * @throws BadRecordError (a DatasetError) for a record that is not UTF-8, not JSON or not an object, or has
 *   more or fewer fields than the first row of its CSV file names.
 */
export async function* readRecords(options: ReadRecordsOptions): AsyncGenerator<DataRecord> {
  const onBadRecord = options.onBadRecord ?? rethrow;
  for (const file of await resolveFiles(options.files, RECORD_FORMATS)) {
    if (file.format === 'parquet') yield* parquetRecords(file);
    else if (file.format === 'jsonl') yield* jsonLines(file, onBadRecord);
    else if (file.format === 'csv') yield* readCsvRecords(file, onBadRecord);
    else yield* jsonList(file, onBadRecord);
  }
}

type OnBadRecord = (error: BadRecordError) => void;

async function* parquetRecords(file: SourceFile): AsyncGenerator<DataRecord> {
  let position = 0;
  for await (const rows of readParquetRecords(file)) {
    for (const record of rows) yield { record, file: file.path, unit: 'row', position: ++position };
  }
}

async function* jsonLines(file: SourceFile, onBadRecord: OnBadRecord): AsyncGenerator<DataRecord> {
  const splitter = new RecordSplitter(file.path, '\n');
  let position = 0;
  const parse = function* (lines: Buffer[]): Generator<DataRecord> {
    for (const bytes of lines) {
      position++;
      const record = parseLine(bytes);
      if (record === undefined) continue;
      if (typeof record === 'string') onBadRecord(new BadRecordError(file.path, 'line', position, record));
      else yield { record, file: file.path, unit: 'line', position };
    }
  };
  for await (const chunk of readChunks(file, () => {})) yield* parse(splitter.push(chunk));
  yield* parse([splitter.end()]);
}

/** A record, what is wrong with it, or undefined for a blank line. */
function parseLine(bytes: Uint8Array): Record<string, unknown> | string | undefined {
  const content = decodeUtf8(bytes);
  if (content === undefined) return 'not valid UTF-8';
  // Trimming also takes a byte order mark.
  const json = content.trim();
  if (json === '') return undefined;
  try {
    const value: unknown = JSON.parse(json);
    return isObject(value) ? value : `not an object, got ${excerpt(json)}`;
  } catch {
    return `malformed JSON, got ${excerpt(json)}`;
  }
}

async function* jsonList(file: SourceFile, onBadRecord: OnBadRecord): AsyncGenerator<DataRecord> {
  const whole = new RecordSplitter(file.path, undefined);
  for await (const chunk of readChunks(file, () => {})) whole.push(chunk);
  const content = decodeUtf8(whole.end());
  if (content === undefined) throw new DatasetError(`${file.path}: not valid UTF-8`);
  let list: unknown;
  try {
    list = JSON.parse(content.trim());
  } catch {
    // A record a line under the wrong name, or damaged: reading it by lines tells which.
    return yield* jsonLines(file, onBadRecord);
  }
  if (!Array.isArray(list)) {
    throw new DatasetError(
      `${file.path}: got ${excerpt(content.trim())}, expected a list of records, as in [{…}, {…}]`,
    );
  }
  for (const [i, record] of list.entries()) {
    const position = i + 1;
    if (isObject(record)) yield { record, file: file.path, unit: 'row', position };
    else {
      const reason = `not an object, got ${excerpt(JSON.stringify(record))}`;
      onBadRecord(new BadRecordError(file.path, 'row', position, reason));
    }
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function excerpt(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
