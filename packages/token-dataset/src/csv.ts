import { pipeline } from 'node:stream';
import { CsvError, parse } from 'csv-parse';
import type { DataRecord } from './data-record.ts';
import { type BadRecordError, DatasetError, reasonOf } from './errors.ts';
import { MAX_RECORD_BYTES, recordAt, tooLarge, withoutBad } from './records.ts';

/** Rows in a group: asynchronous iteration costs a step for each group instead of each row. */
const GROUP_ROWS = 256;

/**
 * Streams the rows of CSV (RFC 4180) as records of strings; the first row names the fields.
 *
 * Blank lines are skipped. A row with another number of fields is a bad record. A misplaced quote makes the rest of the
 * file ambiguous, so it is an error of the file.
 */
export async function* readCsvRecords(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  delimiter: ',' | '\t',
  onBadRecord: (error: BadRecordError) => void,
): AsyncGenerator<DataRecord[]> {
  const rows = parse({
    bom: true,
    delimiter,
    max_record_size: MAX_RECORD_BYTES,
    relax_column_count: true,
    // Many programs write TSV without quoting: a quote within a field is then an ordinary character.
    relax_quotes: delimiter === '\t',
    skip_empty_lines: true,
  });
  let names: string[] | undefined;
  let position = 0;
  let group: (DataRecord | BadRecordError)[] = [];
  try {
    // Iteration throws the error too; the callback keeps it from being reported twice.
    for await (const row of pipeline(utf8(path, chunks), rows, () => {}) as AsyncIterable<string[]>) {
      if (!names) {
        names = row;
        requireDistinctNames(path, names);
        continue;
      }
      const isBad = row.length !== names.length;
      const parsed = isBad
        ? `got ${row.length} fields, expected the ${names.length} that the first row names`
        : Object.fromEntries(names.map((name, i) => [name, row[i]]));
      group.push(recordAt(path, 'row', ++position, parsed));
      if (!isBad && group.length < GROUP_ROWS) continue;
      yield* withoutBad(group, onBadRecord);
      group = [];
    }
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    if (error.code === 'CSV_MAX_RECORD_SIZE') {
      throw tooLarge(path, 'split it, or look for a quote that is not closed');
    }
    throw new DatasetError(`${path}, line ${error.lines}: not CSV: ${reasonOf(error)}`);
  }
  yield* withoutBad(group, onBadRecord);
}

function requireDistinctNames(path: string, names: readonly string[]): void {
  const repeated = names.find((name, i) => names.indexOf(name) !== i);
  if (repeated === undefined) return;
  throw new DatasetError(
    `${path}: the first row names a field twice, got '${repeated}', expected different names`,
  );
}

async function* utf8(path: string, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const decode = (chunk?: Uint8Array) => {
    try {
      return decoder.decode(chunk, { stream: chunk !== undefined });
    } catch {
      throw new DatasetError(`${path}: not valid UTF-8`);
    }
  };
  for await (const chunk of chunks) yield decode(chunk);
  yield decode();
}
