/** What the headers of a Parquet file may ask for, checked before hyparquet takes the memory. */
import type { ColumnMetaData, FileMetaData, RowGroup } from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';
import { MAX_RECORD_BYTES } from './records.ts';

/** Rows of a row group, and values of a column in it; writers make groups of a million rows at most by default. */
const MAX_VALUES = 2 ** 24;
/** A column of a row group beyond this must not shrink more than text does. */
const LARGE_COLUMN_BYTES = 2 ** 30;
const MAX_RATIO = 100;

/** @throws Error for counts and sizes that no file of texts has */
export function requireReadable({ row_groups }: FileMetaData): void {
  for (const { num_rows, columns } of row_groups) {
    if (num_rows < 0n || num_rows > MAX_VALUES) {
      throw new Error(
        `a row group of ${num_rows} rows, expected at most ${MAX_VALUES}; write it with smaller ones`,
      );
    }
    for (const { meta_data } of columns) {
      if (meta_data && (meta_data.num_values < 0n || meta_data.num_values > MAX_VALUES)) {
        throw new Error(
          `${meta_data.num_values} values in a column of a row group, expected at most ${MAX_VALUES}`,
        );
      }
    }
  }
}

/**
 * Checks the pages of the columns that lie in the bytes just read from the file, at `start`.
 *
 * @throws Error for a page whose header claims more than its column has, or more than a record may take
 */
export function requireReadablePages(bytes: ArrayBuffer, start: number, { columns }: RowGroup): void {
  for (const { meta_data } of columns) {
    if (!meta_data) continue;
    const at = firstByteOf(meta_data) - start;
    const length = Number(meta_data.total_compressed_size);
    if (at < 0 || length < 0 || at + length > bytes.byteLength) continue;
    requirePages(new DataView(bytes, at, length), meta_data);
  }
}

function firstByteOf({ dictionary_page_offset, data_page_offset }: ColumnMetaData): number {
  return Number(dictionary_page_offset || data_page_offset);
}

function requirePages(view: DataView, { num_values }: ColumnMetaData): void {
  const reader = { view, offset: 0 };
  let values = 0;
  let total = 0;
  while (values < Number(num_values) && reader.offset < view.byteLength - 1) {
    const page = parquetHeader(reader);
    const { compressed_page_size: compressed, uncompressed_page_size: size } = page;
    if (!(compressed >= 0 && size >= 0) || size > MAX_RECORD_BYTES) {
      throw new Error(`a page of ${size} bytes, expected at most ${MAX_RECORD_BYTES}`);
    }
    const ofData = page.data_page_header ?? page.data_page_header_v2;
    const held = (ofData ?? page.dictionary_page_header)?.num_values ?? 0;
    if (ofData) values += held;
    if (held < 0 || held > MAX_VALUES || values > Number(num_values)) {
      throw new Error(`a page of ${held} values, its column has ${num_values}`);
    }
    total += size;
    reader.offset += compressed;
  }
  if (total > LARGE_COLUMN_BYTES && total > MAX_RATIO * view.byteLength) {
    throw new Error(`a column of ${total} bytes in ${view.byteLength} compressed ones is no text`);
  }
}
