import { pipeline } from 'node:stream';
import { CsvError, parse } from 'csv-parse';
import { BadRecordError, DatasetError, reasonOf } from './errors.ts';
import { type DataRecord, MAX_RECORD_BYTES, tooLarge } from './records.ts';

/** Rows in a group: few enough to hold, enough to spare steps of asynchronous iteration. */
const GROUP = 256;

/**
 * Streams the rows of CSV (RFC 4180) as records of texts; the first row names the fields.
 *
 * Blank lines are passed over. A row with another number of fields is a bad record; after a misplaced quote nothing can
 * be told apart, so that one ends the file.
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
    // Many that write TSV quote nothing: there a quote within a field is a character like others.
    relax_quotes: delimiter === '\t',
    skip_empty_lines: true,
  });
  let names: string[] | undefined;
  let position = 0;
  let group: DataRecord[] = [];
  try {
    // The callback only keeps the error from being reported twice: iteration throws it too.
    for await (const row of pipeline(utf8(path, chunks), rows, () => {}) as AsyncIterable<string[]>) {
      if (!names) {
        names = row;
        requireNames(path, names);
        continue;
      }
      position++;
      if (row.length === names.length) {
        const record = Object.fromEntries(names.map((name, i) => [name, row[i]]));
        if (group.push({ record, file: path, unit: 'row', position }) < GROUP) continue;
        yield group;
        group = [];
      } else {
        // What came before is given out first, so that errors keep their order.
        yield group;
        group = [];
        const reason = `got ${row.length} fields, expected the ${names.length} that the first row names`;
        onBadRecord(new BadRecordError(path, 'row', position, reason));
      }
    }
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    if (error.code === 'CSV_MAX_RECORD_SIZE') {
      throw tooLarge(path, 'split it, or look for a quote that is not closed');
    }
    throw new DatasetError(`${path}, line ${error.lines}: not CSV: ${reasonOf(error)}`);
  }
  yield group;
}

function requireNames(path: string, names: readonly string[]): void {
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice === undefined) return;
  throw new DatasetError(
    `${path}: the first row names a field twice, got '${twice}', expected different names`,
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
