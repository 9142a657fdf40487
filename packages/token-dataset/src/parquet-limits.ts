/** Limits on the headers of a Parquet file, checked before hyparquet allocates memory for them. */
import type { ColumnMetaData, FileMetaData, RowGroup } from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';
import { DatasetError } from './errors.ts';
import { MAX_RECORD_BYTES } from './records.ts';

/** Rows of a row group, and values of a column in it; by default, writers make groups of at most a million rows. */
const MAX_VALUES = 2 ** 24;
/** Text compresses about tenfold; large pages and columns with a higher ratio are refused. */
const MAX_RATIO = 100;
const LARGE_COLUMN_BYTES = 2 ** 30;

/** @throws DatasetError for row groups with more rows than fit in memory as records */
export function requireReadable(path: string, { row_groups }: FileMetaData): void {
  for (const { num_rows } of row_groups) {
    if (num_rows >= 0n && num_rows <= MAX_VALUES) continue;
    throw new DatasetError(
      `${path}: a row group of ${num_rows} rows, expected at most ${MAX_VALUES}; write smaller row groups, as with ` +
        'row_group_size in pyarrow',
    );
  }
}

/**
 * Checks the pages of the columns in the bytes just read from the file, at `start`.
 *
 * @throws DatasetError for a page whose header claims more values than its column has, or more bytes than its
 *   compressed size can hold
 */
export function requireReadablePages(
  path: string,
  bytes: ArrayBuffer,
  start: number,
  { columns }: RowGroup,
): void {
  for (const { meta_data } of columns) {
    if (!meta_data) continue;
    const at = firstByteOf(meta_data) - start;
    const length = Number(meta_data.total_compressed_size);
    if (at < 0 || length < 0 || at + length > bytes.byteLength) continue;
    const reason = excessOfPages(new DataView(bytes, at, length), meta_data);
    if (reason) throw new DatasetError(`${path}, column ${meta_data.path_in_schema.join('.')}: ${reason}`);
  }
}

function firstByteOf({ dictionary_page_offset, data_page_offset }: ColumnMetaData): number {
  return Number(dictionary_page_offset || data_page_offset);
}

/** Why the pages of a column exceed the limits; undefined if they do not. */
function excessOfPages(view: DataView, { num_values }: ColumnMetaData): string | undefined {
  if (num_values < 0n || num_values > MAX_VALUES) {
    return `${num_values} values in a row group, expected at most ${MAX_VALUES}; write smaller row groups`;
  }
  const reader = { view, offset: 0 };
  let values = 0;
  let total = 0;
  while (values < Number(num_values) && reader.offset < view.byteLength - 1) {
    const page = parquetHeader(reader);
    const { compressed_page_size: compressed, uncompressed_page_size: size } = page;
    if (!(compressed >= 0 && size >= 0)) return 'damaged, got a page of a negative size';
    if (size > MAX_RECORD_BYTES && size > MAX_RATIO * compressed) {
      return `a page of ${size} bytes out of ${compressed}, expected at most ${MAX_RATIO} times as many`;
    }
    const ofData = page.data_page_header ?? page.data_page_header_v2;
    const held = (ofData ?? page.dictionary_page_header)?.num_values ?? 0;
    if (ofData) values += held;
    if (held < 0 || held > MAX_VALUES || values > Number(num_values)) {
      return `damaged, got a page of ${held} values in a column of ${num_values}`;
    }
    total += size;
    reader.offset += compressed;
  }
  if (total <= LARGE_COLUMN_BYTES || total <= MAX_RATIO * view.byteLength) return undefined;
  return `${total} bytes out of ${view.byteLength}, expected at most ${MAX_RATIO} times as many`;
}
