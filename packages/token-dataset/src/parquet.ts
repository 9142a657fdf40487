import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, type RowGroup } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import type { DataRecord, RecordReading } from './data-record.ts';
import { DatasetError, reasonOf } from './errors.ts';
import type { SourceFile } from './files.ts';
import { requireReadable, requireReadablePages } from './parquet-limits.ts';
import { decodeUtf8, recordAt, withoutBad } from './records.ts';

/** Marks a cell that is not UTF-8; by default hyparquet replaces the invalid bytes. */
const invalidUtf8 = Symbol('invalid UTF-8');

/** The rows of a Parquet file, a row group at a time; with a field, only its column is read. */
export async function* readParquetRecords(
  { path, at = path, size }: SourceFile,
  { field, onBadRecord, onBytes }: RecordReading,
): AsyncGenerator<DataRecord[]> {
  const { buffer, metadata } = await open(path, at, size);
  const columns = field === undefined ? undefined : [columnOf(path, field, topLevelColumns(metadata.schema))];
  let hasInvalid = false;
  const parsers = {
    stringFromBytes: (bytes: Uint8Array | undefined) => {
      const text = bytes && decodeUtf8(bytes);
      if (!bytes || text !== undefined) return text;
      hasInvalid = true;
      return invalidUtf8;
    },
  };
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    let rows: Record<string, unknown>[];
    hasInvalid = false;
    try {
      const options = { file: buffer, metadata, columns, rowStart, rowEnd, compressors, parsers };
      rows = await readObjects(path, options, group);
    } catch (error) {
      if (error instanceof DatasetError) throw error;
      throw new DatasetError(`${path}: rows ${rowStart + 1} to ${rowEnd} are damaged: ${damageOf(error)}`);
    }
    const first = rowStart + 1;
    const records = rows.map((row, i) =>
      recordAt(path, 'row', first + i, hasInvalid && holdsInvalid(row) ? 'not valid UTF-8' : row),
    );
    yield* withoutBad(records, onBadRecord);
    onBytes(metadata.num_rows === 0n ? 0 : (size * rows.length) / Number(metadata.num_rows));
    rowStart = rowEnd;
  }
}

/** The column that holds a field, which may be nested in it. */
function columnOf(path: string, field: string, columns: readonly string[]): string {
  const column = columns.includes(field) ? field : field.split('.')[0];
  if (columns.includes(column)) return column;
  throw new DatasetError(`${path}: no column '${column}', got ${columns.join(', ')}; set textField`);
}

function holdsInvalid(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return value === invalidUtf8;
  return Object.values(value).some(holdsInvalid);
}

/**
 * `parquetReadObjects` with limits and without unhandled rejections: when one column fails, hyparquet is already reading
 * others, and their failures would end the process. Reads that finish after a failure therefore never settle.
 */
async function readObjects(path: string, options: Parameters<typeof parquetReadObjects>[0], group: RowGroup) {
  let failed = false;
  const { file } = options;
  const slice = async (start: number, end?: number) => {
    const bytes = await file.slice(start, end);
    if (failed) return new Promise<never>(() => {});
    requireReadablePages(path, bytes, start, group);
    return bytes;
  };
  try {
    return await parquetReadObjects({ ...options, file: { byteLength: file.byteLength, slice } });
  } catch (error) {
    failed = true;
    throw error;
  }
}

/** `PAR1` at both ends, and the length of the metadata. */
const MIN_BYTES = 12;

async function open(path: string, at: string, size: number) {
  if (size < MIN_BYTES) {
    throw new DatasetError(
      `${path} is not a whole Parquet file: got ${size} bytes, expected at least ${MIN_BYTES}; copy or download it again`,
    );
  }
  try {
    const buffer = await asyncBufferFromFile(at);
    const metadata = await parquetMetadataAsync(buffer);
    requireReadable(path, metadata);
    return { buffer, metadata };
  } catch (error) {
    if (error instanceof DatasetError) throw error;
    throw new DatasetError(`${path} is not a whole Parquet file: ${damageOf(error)}`);
  }
}

/** Reason of an error of hyparquet, which reads damaged numbers as positions and missing parts as undefined. */
function damageOf(error: unknown): string {
  return error instanceof TypeError || error instanceof RangeError ? 'damaged structure' : reasonOf(error);
}

/** Names of the children of the root; each child's own subtree is skipped. */
function topLevelColumns(schema: readonly { name: string; num_children?: number }[]): string[] {
  const names: string[] = [];
  for (let at = 1; at < schema.length; ) {
    names.push(schema[at].name);
    for (let left = 1; left > 0 && at < schema.length; left--) left += schema[at++].num_children ?? 0;
  }
  return names;
}
