/** What a file holds: told by its first bytes, and by its name where those leave a choice. */
import { isUtf8 } from 'node:buffer';
import { DatasetError } from './errors.ts';

/** Formats of files of documents or records; each but Parquet may lie inside gzip or zstd. */
export const FILE_FORMATS = ['text', 'jsonl', 'json', 'csv', 'tsv', 'parquet'] as const;

/**
 * `text`: documents as they stand. `jsonl`: a JSON record a line. `json`: one array of records, one object with such an
 * array in `data`, or objects one after the other, however they are laid out. `csv`, `tsv`: rows under a row of names.
 */
export type FileFormat = (typeof FILE_FORMATS)[number];

/** Those of records, which plain text has none of. */
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

/** The format that a name promises, whatever it is compressed with. */
export function formatOfName(path: string): FileFormat | undefined {
  const name = path.toLowerCase().replace(/\.(gz|zst)$/, '');
  return formatOfExtension[/\.([^./\\]+)$/.exec(name)?.[1] ?? ''];
}

/** How much of a file may be needed to tell a record a line from a single object on one line. */
const MAX_HEAD_BYTES = 8 * 1024 * 1024;

export interface Detection {
  /** Path, for messages. */
  readonly path: string;
  readonly named: FileFormat | undefined;
  /** Whether plain text will do; otherwise records are expected. */
  readonly texts: boolean;
  /** Overrules name and content, but for what cannot be read as text at all. */
  readonly format: FileFormat | 'auto';
}

/**
 * The format of a file from its first bytes, decompressed; undefined where more of them are needed.
 *
 * Names decide between what bytes cannot tell apart: `.txt` is plain text whatever it says, `.csv` and `.tsv` are
 * tables unless they are JSON, a line of `.jsonl` that is not JSON is a bad record and not a sign of text.
 *
 * @param isWhole whether `head` is all there is
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
    throw new DatasetError(`${path} is not a whole Parquet file: it does not begin with PAR1`);
  }
  if (isBinary(head)) {
    throw new DatasetError(
      `${path}: cannot tell its format, got binary data, expected text, JSON, CSV, TSV or Parquet, or one of them ` +
        'inside gzip or zstd',
    );
  }
  if (texts) return 'text';
  throw new DatasetError(
    `${path}: got plain text, expected records: JSON lines, a JSON array of objects, CSV, TSV (by their names) or Parquet`,
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
  const most = head.length >= MAX_HEAD_BYTES || isWhole;
  if (start === head.length) return most ? 'jsonl' : 'more';
  const opening = String.fromCharCode(head[start]);
  if (opening !== '{' && opening !== '[') return 'none';
  const second = head[nextToken(head, start + 1)];
  // Prose may open with a bracket; under a name of JSON its faults are told as such.
  const isPlausible =
    second === undefined || (opening === '{' ? '"}' : '[{]').includes(String.fromCharCode(second));
  if (!isPlausible && named !== 'json' && named !== 'jsonl') return 'none';

  const newline = head.indexOf(NEWLINE, start);
  if (newline < 0 && !most) return opening === '[' && named !== 'jsonl' ? 'json' : 'more';
  const end = newline < 0 ? head.length : newline;
  const next = nextToken(head, end);
  if (next === head.length && !most) return opening === '[' && named !== 'jsonl' ? 'json' : 'more';
  const line = utf8(head.subarray(start, end)).trimEnd();
  if (next === head.length) {
    // All there is: no line follows that could tell one object with a list from a record that has one.
    if (opening === '[' || !isWhole) return 'json';
    const isSingle = isJson(line) ? /"data"\s*:\s*\[/.test(line) : isLaidOut(line, '', named);
    return isSingle ? 'json' : 'jsonl';
  }
  const follows = String.fromCharCode(head[next]);
  if (isJson(line)) return opening === '{' || named === 'jsonl' ? 'jsonl' : 'json';
  if (opening === '[') return 'json';
  return isLaidOut(line, follows, named) ? 'json' : 'jsonl';
}

/** Whether a first line that is no record is the beginning of one on several lines, or several on one. */
function isLaidOut(line: string, follows: string, named: FileFormat | undefined): boolean {
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
  // A line cut off after a colon, under a name of JSON lines, with a record on the next one.
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

/** First bytes of files that people have beside their texts, and what to do with them. */
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
    // Text may begin with the letters of a printable one.
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

/** UTF-16 or UTF-32 by its byte order mark, or by the zeros that every second byte of it is in Latin scripts. */
function wideEncoding(head: Uint8Array): string | undefined {
  if (
    startsWith(head, Buffer.from([0xff, 0xfe, 0, 0])) ||
    startsWith(head, Buffer.from([0, 0, 0xfe, 0xff]))
  ) {
    return 'UTF-32';
  }
  if (startsWith(head, Buffer.from([0xff, 0xfe])) || startsWith(head, Buffer.from([0xfe, 0xff])))
    return 'UTF-16';
  const sample = head.subarray(0, 64);
  if (sample.length < 4 || !sample.includes(0)) return undefined;
  const zeros = [0, 0];
  for (const [i, byte] of sample.entries()) zeros[i % 2] += Number(byte === 0);
  const [less, more] = zeros.sort((a, b) => a - b);
  return less === 0 && more > sample.length * 0.4 ? 'UTF-16' : undefined;
}

/** Whether these bytes are no text: not UTF-8, or full of control characters. */
export function isBinary(head: Uint8Array): boolean {
  // A character may be cut off at the end.
  const sample = head.subarray(0, 4096);
  let end = sample.length;
  while (end > 0 && end > sample.length - 4 && !isUtf8(sample.subarray(0, end))) end--;
  if (!isUtf8(sample.subarray(0, end))) return true;
  return sample.includes(0);
}

const utf8 = (bytes: Uint8Array) =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');

function startsWith(bytes: Uint8Array, prefix: string | Buffer): boolean {
  const expected = Buffer.from(prefix as string);
  return expected.equals(bytes.subarray(0, expected.length));
}
