import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import type { ReadFileOptions, TextDocument } from './documents.ts';
import { BadRecordError, DatasetError, reasonOf } from './errors.ts';
import type { SourceFile } from './files.ts';
import { decodeUtf8 } from './records.ts';
import { textOfRecord } from './text-field.ts';

/** Stands in a cell for bytes that are not UTF-8, which hyparquet would otherwise replace in silence. */
const invalidUtf8 = Symbol('invalid UTF-8');

const parsers = {
  stringFromBytes: (bytes: Uint8Array | undefined) => bytes && (decodeUtf8(bytes) ?? invalidUtf8),
};

/** The documents of a Parquet file, a row group at a time. */
export async function* readParquetRows(
  file: SourceFile,
  options: ReadFileOptions,
): AsyncGenerator<TextDocument[]> {
  const { path } = file;
  const { textField } = options;
  const { buffer, metadata } = await open(path);
  const columns = topLevelColumns(metadata.schema);
  const column = columns.includes(textField) ? textField : textField.split('.')[0];
  if (!columns.includes(column)) {
    throw new DatasetError(`${path}: no column '${column}', got ${columns.join(', ')}; set textField`);
  }
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    let rows: Record<string, unknown>[];
    try {
      const range = { columns: [column], rowStart, rowEnd, compressors, parsers };
      rows = await readObjects({ file: buffer, metadata, ...range });
    } catch (error) {
      throw new DatasetError(`${path}: rows ${rowStart + 1} to ${rowEnd} are damaged: ${reasonOf(error)}`);
    }
    const documents: TextDocument[] = [];
    for (const [i, row] of rows.entries()) {
      const position = rowStart + i + 1;
      const text = textOfRow(row, textField);
      if (typeof text === 'string') documents.push({ text, file: path, position });
      else options.onBadRecord(new BadRecordError(path, 'row', position, text.reason));
    }
    yield documents;
    options.onBytes(metadata.num_rows === 0n ? 0 : (file.size * rows.length) / Number(metadata.num_rows));
    rowStart = rowEnd;
  }
}

/** The rows of a Parquet file as objects, a row group at a time. */
export async function* readParquetRecords({ path }: SourceFile): AsyncGenerator<Record<string, unknown>[]> {
  const { buffer, metadata } = await open(path);
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    try {
      yield await readObjects({ file: buffer, metadata, rowStart, rowEnd, compressors });
    } catch (error) {
      throw new DatasetError(`${path}: rows ${rowStart + 1} to ${rowEnd} are damaged: ${reasonOf(error)}`);
    }
    rowStart = rowEnd;
  }
}

/**
 * hyparquet's, but for what it leaves behind: where it fails at one column it has begun to read others, whose failures
 * nobody would hear, and which would end the process. What comes off the disk after a failure goes nowhere.
 */
async function readObjects(options: Parameters<typeof parquetReadObjects>[0]) {
  let failed = false;
  const { file } = options;
  const slice = async (start: number, end?: number) => {
    const bytes = await file.slice(start, end);
    return failed ? new Promise<never>(() => {}) : bytes;
  };
  try {
    return await parquetReadObjects({ ...options, file: { byteLength: file.byteLength, slice } });
  } catch (error) {
    failed = true;
    throw error;
  }
}

async function open(path: string) {
  try {
    const buffer = await asyncBufferFromFile(path);
    return { buffer, metadata: await parquetMetadataAsync(buffer) };
  } catch (error) {
    throw new DatasetError(`${path} is not a whole Parquet file: ${reasonOf(error)}`);
  }
}

/** Names of the children of the root, found by stepping over each child's own subtree. */
function topLevelColumns(schema: readonly { name: string; num_children?: number }[]): string[] {
  const names: string[] = [];
  const skip = (at: number): number => {
    let next = at + 1;
    for (let child = 0; child < (schema[at].num_children ?? 0); child++) next = skip(next);
    return next;
  };
  for (let at = 1; at < schema.length; at = skip(at)) names.push(schema[at].name);
  return names;
}

function textOfRow(row: Record<string, unknown>, textField: string): string | { reason: string } {
  const text = textOfRecord(row, textField);
  if (typeof text === 'string') return text;
  const cell = textField.split('.').reduce<unknown>((value, key) => (value as never)?.[key], row);
  const invalid = cell === invalidUtf8 || row[textField] === invalidUtf8;
  return invalid ? { reason: 'not valid UTF-8' } : text;
}
