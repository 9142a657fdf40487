import { pipeline } from 'node:stream';
import { CsvError, parse } from 'csv-parse';
import { BadRecordError, DatasetError, reasonOf } from './errors.ts';
import type { SourceFile } from './files.ts';
import type { DataRecord } from './read-records.ts';
import { readChunks } from './records.ts';

/**
 * Streams the rows of a CSV file (RFC 4180) as records of texts; the first row names the fields.
 *
 * Blank lines are passed over. A row with another number of fields is a bad record; after a misplaced quote nothing can
 * be told apart, so that one ends the file.
 */
export async function* readCsvRecords(
  file: SourceFile,
  onBadRecord: (error: BadRecordError) => void,
): AsyncGenerator<DataRecord> {
  const rows = parse({ bom: true, relax_column_count: true, skip_empty_lines: true });
  let names: string[] | undefined;
  let position = 0;
  try {
    // The callback only keeps the error from being reported twice: iteration throws it too.
    for await (const row of pipeline(utf8(file), rows, () => {}) as AsyncIterable<string[]>) {
      if (!names) {
        names = row;
        requireNames(file.path, names);
        continue;
      }
      position++;
      if (row.length === names.length) {
        const record = Object.fromEntries(names.map((name, i) => [name, row[i]]));
        yield { record, file: file.path, unit: 'row', position };
      } else {
        const reason = `got ${row.length} fields, expected the ${names.length} that the first row names`;
        onBadRecord(new BadRecordError(file.path, 'row', position, reason));
      }
    }
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw new DatasetError(`${file.path}, line ${error.lines}: not CSV: ${reasonOf(error)}`);
  }
}

function requireNames(path: string, names: readonly string[]): void {
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice === undefined) return;
  throw new DatasetError(
    `${path}: the first row names a field twice, got '${twice}', expected different names`,
  );
}

async function* utf8(file: SourceFile): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const decode = (chunk?: Uint8Array) => {
    try {
      return decoder.decode(chunk, { stream: chunk !== undefined });
    } catch {
      throw new DatasetError(`${file.path}: not valid UTF-8`);
    }
  };
  for await (const chunk of readChunks(file, () => {})) yield decode(chunk);
  yield decode();
}
