import { asyncBufferFromFile, type FileMetaData, parquetMetadataAsync } from 'hyparquet';
import { expect, it } from 'vitest';
import { requireReadable, requireReadablePages } from './parquet-limits.ts';
import { fixture } from './testing.ts';

const open = async () => {
  const file = await asyncBufferFromFile(fixture('documents.snappy.parquet'));
  return { file, metadata: await parquetMetadataAsync(file) };
};

it.each<[string, (metadata: FileMetaData) => void, RegExp]>([
  [
    'rows',
    ({ row_groups: [group] }) => Object.assign(group, { num_rows: 2n ** 40n }),
    /a row group of 1099511627776 rows/,
  ],
  [
    'rows below none',
    ({ row_groups: [group] }) => Object.assign(group, { num_rows: -1n }),
    /a row group of -1 rows/,
  ],
])('refuses too many %s', async (_, change, reason) => {
  const { metadata } = await open();
  requireReadable('a.parquet', metadata);
  change(metadata);
  expect(() => requireReadable('a.parquet', metadata)).toThrow(reason);
});

/** A number in Thrift's compact protocol. */
const varint = (value: number): number[] =>
  value < 128 ? [value] : [(value % 128) | 128, ...varint(Math.floor(value / 128))];
const integer = (value: number) => [0x15, ...varint(value * 2)];
/** The header of a data page: type, sizes, then number of values and encodings. */
const page = (size: number, compressed: number, values: number) => [
  ...integer(0),
  ...integer(size),
  ...integer(compressed),
  0x2c,
  ...[...integer(values), ...integer(0), ...integer(3), ...integer(3), 0],
  0,
];

it.each<[string, number[], RegExp]>([
  [
    'of two billion bytes',
    page(2 ** 31 - 1, 10, 5),
    /column text: a page of 2147483647 bytes out of 10, expected/,
  ],
  [
    'of more values than its column',
    page(100, 10, 2 ** 30),
    /column text: damaged, got a page of 1073741824 values in a column of 10/,
  ],
])('refuses a page %s', (_, header, reason) => {
  const bytes = Uint8Array.from([...header, ...new Uint8Array(10)]);
  const meta_data = {
    data_page_offset: 100n,
    total_compressed_size: BigInt(bytes.length),
    num_values: 10n,
    path_in_schema: ['text'],
  };
  const group = { columns: [{ meta_data }], num_rows: 10n } as never;
  expect(() => requireReadablePages('a.parquet', bytes.buffer, 100, group)).toThrow(reason);
  // Other bytes of the file are not its pages.
  expect(() => requireReadablePages('a.parquet', bytes.buffer, 101, group)).not.toThrow();
});

it('refuses a column with a thousandfold compression ratio', () => {
  const pages = Array.from({ length: 5 }, () => [
    ...page(255 * 2 ** 20, 10, 1),
    ...new Uint8Array(10),
  ]).flat();
  const bytes = Uint8Array.from(pages);
  const meta_data = {
    data_page_offset: 0n,
    total_compressed_size: BigInt(bytes.length),
    num_values: 10n,
    path_in_schema: ['text'],
  };
  const group = { columns: [{ meta_data }], num_rows: 10n } as never;
  expect(() => requireReadablePages('a.parquet', bytes.buffer, 0, group)).toThrow(
    /column text: 1336934400 bytes out of \d+, expected at most 100 times/,
  );
});

it('accepts the pages of a valid file', async () => {
  const { file, metadata } = await open();
  const whole = await file.slice(0);
  for (const group of metadata.row_groups) requireReadablePages('a.parquet', whole, 0, group);
});
