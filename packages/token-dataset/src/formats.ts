/** Recognises the format of a file by its first bytes, and by its name where those are ambiguous. */
import { isUtf8 } from 'node:buffer';
import { DatasetError } from './errors.ts';

/** Formats of files; all but Parquet may be compressed with gzip or zstd. */
export const FILE_FORMATS = ['text', 'jsonl', 'json', 'csv', 'tsv', 'parquet'] as const;

/**
 * `text`: plain text. `jsonl`: one JSON record a line. `json`: one array of records, one object with such an array in
 * `data`, or objects one after the other, in any layout. `csv`, `tsv`: rows after a row of names.
 */
export type FileFormat = (typeof FILE_FORMATS)[number];

/** The formats of records: all but plain text. */
export const RECORD_FORMATS = FILE_FORMATS.filter((format) => format !== 'text');
/** One of {@link RECORD_FORMATS}. */
export type RecordFormat = (typeof RECORD_FORMATS)[number];

const formatOfExtension: Record<string, FileFormat> = {
  txt: 'text',
  text: 'text',
  jsonl: 'jsonl',
  ndjson: 'jsonl',
  jsonlines: 'jsonl',
  json: 'json',
  csv: 'csv',
  tsv: 'tsv',
  parquet: 'parquet',
};

/** The format that a name suggests, regardless of compression. */
export function formatOfName(path: string): FileFormat | undefined {
  const name = path.toLowerCase().replace(/\.(gz|zst)$/, '');
  return formatOfExtension[/\.([^./\\]+)$/.exec(name)?.[1] ?? ''];
}

/** Limit of the bytes read to tell JSON lines from a single object on one line. */
const MAX_HEAD_BYTES = 8 * 1024 * 1024;

export interface Detection {
  /** Path, for messages. */
  readonly path: string;
  readonly named: FileFormat | undefined;
  /** Whether plain text is accepted; otherwise records are expected. */
  readonly texts: boolean;
  /** Overrides name and content, except for binary data. */
  readonly format: FileFormat | 'auto';
}

/**
 * The format of a file from its first decompressed bytes; undefined if more of them are needed.
 *
 * Names decide where bytes are ambiguous: `.txt` is plain text regardless of its content, `.csv` and `.tsv` are tables
 * unless they are JSON, and a line of `.jsonl` that is not JSON is a bad record, not a sign of text.
 *
 * @param isWhole whether `head` is the whole file
 * @throws DatasetError for UTF-16, archives, other binary files, and for text where records are expected
 */
export function detectFormat(
  head: Uint8Array,
  isWhole: boolean,
  { path, named, texts, format }: Detection,
): FileFormat | undefined {
  if (head.length < 512 && !isWhole) return undefined;
  if (format === 'auto' && startsWith(head, 'PAR1')) return 'parquet';
  refuseForeign(head, path);
  if (format !== 'auto') return format;
  if (named === 'text' && texts) return named;
  const json = jsonLayout(head, isWhole, named);
  if (json === 'more') return undefined;
  if (json !== 'none') return json;
  if (named === 'csv' || named === 'tsv') return named;
  if (named === 'json' || named === 'jsonl') return 'jsonl';
  if (named === 'parquet') {
    throw new DatasetError(`${path} is not a whole Parquet file: it does not start with PAR1`);
  }
  if (isBinary(head)) {
    throw new DatasetError(
      `${path}: unknown format, got binary data, expected text, JSON, CSV, TSV or Parquet, uncompressed or in gzip or ` +
        'zstd',
    );
  }
  if (texts) return 'text';
  throw new DatasetError(
    `${path}: got plain text, expected records: JSON lines, a JSON array of objects, CSV or TSV (by name), or Parquet`,
  );
}

const WHITE = new Set([0x20, 0x09, 0x0a, 0x0d]);
const NEWLINE = 0x0a;

function jsonLayout(
  head: Uint8Array,
  isWhole: boolean,
  named: FileFormat | undefined,
): 'json' | 'jsonl' | 'none' | 'more' {
  const start = nextToken(head, startsWith(head, '\uFEFF') ? 3 : 0);
  const isEnough = head.length >= MAX_HEAD_BYTES || isWhole;
  if (start === head.length) return isEnough ? 'jsonl' : 'more';
  const opening = String.fromCharCode(head[start]);
  if (opening !== '{' && opening !== '[') return 'none';
  const second = head[nextToken(head, start + 1)];
  // Prose may start with a bracket too; a file named as JSON is treated as malformed JSON.
  const isPlausible =
    second === undefined || (opening === '{' ? '"}' : '[{]').includes(String.fromCharCode(second));
  if (!isPlausible && named !== 'json' && named !== 'jsonl') return 'none';

  const newline = head.indexOf(NEWLINE, start);
  if (newline < 0 && !isEnough) return opening === '[' && named !== 'jsonl' ? 'json' : 'more';
  const end = newline < 0 ? head.length : newline;
  const next = nextToken(head, end);
  if (next === head.length && !isEnough) return opening === '[' && named !== 'jsonl' ? 'json' : 'more';
  const line = utf8(head.subarray(start, end)).trimEnd();
  if (next === head.length) {
    // A single line: an object that wraps a list in `data` cannot be told from a record by a second line.
    if (opening === '[' || !isWhole) return 'json';
    const isSingle = isJson(line) ? /"data"\s*:\s*\[/.test(line) : isMultiLine(line, '', named);
    return isSingle ? 'json' : 'jsonl';
  }
  const follows = String.fromCharCode(head[next]);
  if (isJson(line)) return opening === '{' || named === 'jsonl' ? 'jsonl' : 'json';
  if (opening === '[') return 'json';
  return isMultiLine(line, follows, named) ? 'json' : 'jsonl';
}

/** Whether a first line that is not one record starts a record of several lines, or holds several records. */
function isMultiLine(line: string, follows: string, named: FileFormat | undefined): boolean {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < line.length; i++) {
    const c = line[i];
    if (inString) {
      if (c === '\\') i++;
      else if (c === '"') inString = false;
    } else if (c === '"') inString = true;
    else if (c === '{' || c === '[') depth++;
    else if (c === '}' || c === ']') depth--;
    if (depth === 0 && !inString) return /^\s*\{/.test(line.slice(i + 1));
  }
  if (inString || follows === '') return false;
  const last = line.at(-1)!;
  // In a file named as JSON lines, a line truncated after a colon with a record on the next line.
  if (last === ':') return named !== 'jsonl' || follows !== '{';
  return '{[,'.includes(last) || '"}],'.includes(follows);
}

function isJson(line: string): boolean {
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}

function nextToken(bytes: Uint8Array, from: number): number {
  let at = from;
  while (at < bytes.length && WHITE.has(bytes[at])) at++;
  return at;
}

/** First bytes of other common files, and how to convert them. */
const FOREIGN = [
  ['PK\x03\x04', 'a zip archive; unpack it first'],
  ['BZh', 'compressed with bzip2; unpack it with bunzip2, or compress it with gzip or zstd instead'],
  ['\xfd7zXZ\0', 'compressed with xz; unpack it with unxz, or compress it with gzip or zstd instead'],
  ['\x04\x22\x4d\x18', 'compressed with lz4; unpack it with unlz4, or compress it with gzip or zstd instead'],
  ['7z\xbc\xaf\x27\x1c', 'a 7-Zip archive; unpack it first'],
  ['ARROW1', 'an Arrow file; convert it to Parquet, as with pyarrow'],
  ['SQLite format 3\0', 'an SQLite database; export a table as CSV or JSON'],
  ['%PDF-', 'a PDF document; extract its text first'],
  ['\x1f\x8b', 'compressed twice; unpack it once'],
  ['\x28\xb5\x2f\xfd', 'compressed twice; unpack it once'],
].map(([magic, what]) => {
  return { magic: Buffer.from(magic, 'latin1'), isPrintable: /^[ -~]+$/.test(magic), what };
});

function refuseForeign(head: Uint8Array, path: string): void {
  for (const { magic, isPrintable, what } of FOREIGN) {
    // Text may start with the letters of a printable magic number.
    if (!magic.equals(head.subarray(0, magic.length)) || (isPrintable && !isBinary(head))) continue;
    throw new DatasetError(`${path}: is ${what}`);
  }
  if (head.length >= 262 && startsWith(head.subarray(257), 'ustar')) {
    throw new DatasetError(`${path}: is a tar archive; unpack it first`);
  }
  const wide = wideEncoding(head);
  if (wide) {
    throw new DatasetError(
      `${path}: is ${wide}, expected UTF-8; convert it, as with iconv -f ${wide} -t UTF-8 < IN > OUT`,
    );
  }
}

/** UTF-16 or UTF-32 by the byte order mark, or by zeros in every second byte, as Latin scripts have in UTF-16. */
function wideEncoding(head: Uint8Array): string | undefined {
  const mark = Buffer.from(head.subarray(0, 4)).toString('hex');
  if (mark === 'fffe0000' || mark === '0000feff') return 'UTF-32';
  if (/^(fffe|feff)/.test(mark)) return 'UTF-16';
  const sample = head.subarray(0, 64);
  if (sample.length < 4 || !sample.includes(0)) return undefined;
  const zeros = [0, 0];
  for (const [i, byte] of sample.entries()) zeros[i % 2] += Number(byte === 0);
  const [less, more] = zeros.sort((a, b) => a - b);
  return less === 0 && more > sample.length * 0.4 ? 'UTF-16' : undefined;
}

/** Whether these bytes are not text: invalid UTF-8, or with zeros. */
export function isBinary(head: Uint8Array): boolean {
  // The last character may be truncated.
  const sample = head.subarray(0, 4096);
  let end = sample.length;
  while (end > 0 && end > sample.length - 4 && !isUtf8(sample.subarray(0, end))) end--;
  if (!isUtf8(sample.subarray(0, end))) return true;
  return sample.includes(0);
}

const utf8 = (bytes: Uint8Array) =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');

function startsWith(bytes: Uint8Array, prefix: string): boolean {
  const expected = Buffer.from(prefix);
  return expected.equals(bytes.subarray(0, expected.length));
}
