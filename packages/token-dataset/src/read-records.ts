import { readCsvRecords } from './csv.ts';
import { BadRecordError, rethrow } from './errors.ts';
import { resolveFiles, type SourceFile } from './files.ts';
import type { RecordFormat } from './formats.ts';
import { JsonSplitter } from './json-splitter.ts';
import { type OpenedFile, openFile } from './open-file.ts';
import { readParquetRecords } from './parquet.ts';
import { readAhead } from './read-ahead.ts';
import { type DataRecord, decodeUtf8, type RecordReading, RecordSplitter } from './records.ts';

/** Options of {@link readRecords}. */
export interface ReadRecordsOptions {
  /** Paths and globs of files of JSON, CSV, TSV (each also inside gzip or zstd) and Parquet. */
  files: string | readonly string[];
  /** What they hold, where content and name do not tell. Default `auto`. */
  format?: RecordFormat | 'auto';
  /** Hears of other names of a file that is read already: links, overlapping patterns. */
  onRepeatedFile?: (path: string) => void;
  /** Hears of a record that cannot be read, which is then skipped; without it the record's error is thrown. */
  onBadRecord?: (error: BadRecordError) => void;
}

/**
 * Streams whole records, with all their fields, in the order of the files.
 *
 * What a file holds is told by its content: JSON lines; one array of objects; one object with such an array in `data`;
 * objects one after the other, on as many lines as they like; gzip, zstd and Parquet. CSV and TSV are told by their
 * names; their first row names the fields, whose values are texts. Memory holds one record, or one row group of Parquet.
 *
 * @throws DatasetError for a missing file, a glob without a match, an unknown format, damaged compression.
 * @throws BadRecordError (a DatasetError) for a record that is not UTF-8, not JSON or not an object, or has
 *   more or fewer fields than the first row of its CSV file names.
 */
export async function* readRecords(options: ReadRecordsOptions): AsyncGenerator<DataRecord> {
  const { format = 'auto', onBadRecord = rethrow } = options;
  for (const atHand of readAhead(await resolveFiles(options.files, options.onRepeatedFile))) {
    const opened = await openFile(atHand, format, false, () => {});
    const reading = { onBadRecord, onBytes: () => {} };
    for await (const group of readFileRecords(atHand.file, opened, reading)) yield* group;
  }
}

/** The records of a file that is not plain text, in groups as they come off the disk. */
export async function* readFileRecords(
  file: SourceFile,
  { format, chunks }: OpenedFile,
  reading: RecordReading,
): AsyncGenerator<DataRecord[]> {
  const { path } = file;
  const { onBadRecord } = reading;
  try {
    if (format === 'parquet') yield* readParquetRecords(file, reading);
    else if (format === 'jsonl') yield* jsonLines(path, chunks, onBadRecord);
    else if (format === 'json') yield* jsonValues(path, chunks, reading);
    else yield* readCsvRecords(path, chunks, format === 'tsv' ? '\t' : ',', onBadRecord);
  } finally {
    await chunks.return(undefined);
  }
}

type OnBadRecord = (error: BadRecordError) => void;

async function* jsonLines(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  onBadRecord: OnBadRecord,
): AsyncGenerator<DataRecord[]> {
  const splitter = new RecordSplitter(path, '\n');
  let position = 0;
  const parse = function* (lines: Buffer[]): Generator<DataRecord[]> {
    let group: DataRecord[] = [];
    for (const bytes of lines) {
      position++;
      const record = parseRecord(bytes);
      if (record === undefined) continue;
      if (typeof record === 'string') {
        yield group;
        group = [];
        onBadRecord(new BadRecordError(path, 'line', position, record));
      } else group.push({ record, file: path, unit: 'line', position });
    }
    yield group;
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
  /** A first object that wraps a list, unless another object follows and shows that it is a record like that. */
  let wrapper: Record<string, unknown> | undefined;
  const give = function* (entries: readonly unknown[]): Generator<DataRecord[]> {
    let group: DataRecord[] = [];
    for (const entry of entries) {
      position++;
      if (isObject(entry) && !(entry instanceof BadRecord))
        group.push({ record: entry, file: path, unit: 'row', position });
      else {
        yield group;
        group = [];
        const reason = entry instanceof BadRecord ? entry.reason : notObject(entry);
        onBadRecord(new BadRecordError(path, 'row', position, reason));
      }
    }
    yield group;
  };
  const parse = function* (pieces: ReturnType<JsonSplitter['push']>): Generator<DataRecord[]> {
    const entries: unknown[] = [];
    for (const { bytes, isTop } of pieces) {
      const parsed = parseRecord(bytes);
      if (parsed === undefined) continue;
      if (wrapper) entries.push(wrapper);
      wrapper = undefined;
      const isFirst = isTop && position + entries.length === 0;
      if (isFirst && isObject(parsed) && wrappedList(parsed, field)) wrapper = parsed;
      else entries.push(typeof parsed === 'string' ? new BadRecord(parsed) : parsed);
    }
    yield* give(entries);
  };
  for await (const chunk of chunks) yield* parse(splitter.push(chunk));
  yield* parse(splitter.end());
  if (wrapper) yield* give(wrappedList(wrapper, field)!);
}

/** Stands where a record would, with what is wrong with it. */
class BadRecord {
  readonly reason: string;
  constructor(reason: string) {
    this.reason = reason;
  }
}

/** The records of an object that only wraps them in `data`, as SQuAD and many other sets do. */
function wrappedList(
  { data, ...rest }: Record<string, unknown>,
  field: string | undefined,
): unknown[] | undefined {
  if (!Array.isArray(data) || (data.length > 0 && !data.some(isObject))) return undefined;
  // With a text, or with messages beside it, it is a record of its own.
  if (field !== undefined && Object.hasOwn(rest, field)) return undefined;
  const hasOther = Object.values(rest).some((value) => Array.isArray(value) && value.some(isObject));
  return hasOther ? undefined : data;
}

/** A record, what is wrong with it, or undefined for a blank line. */
function parseRecord(bytes: Uint8Array): Record<string, unknown> | string | undefined {
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

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function notObject(value: unknown): string {
  try {
    return `not an object, got ${excerpt(JSON.stringify(value))}`;
  } catch {
    // JSON.parse reads what is nested more deeply than JSON.stringify can write.
    return 'not an object, got a list nested too deeply to show';
  }
}

function excerpt(text: string): string {
  // Indented JSON would show little but its indentation.
  const line = text.slice(0, 300).replace(/\s+/g, ' ');
  return line.length > 60 ? `${line.slice(0, 57)}...` : line;
}
