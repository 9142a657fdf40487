import { isUtf8 } from 'node:buffer';
import type { DataRecord } from './data-record.ts';
import { BadRecordError, DatasetError } from './errors.ts';

/** Larger than any document that a JavaScript string and a tokenizer handle well. */
export const MAX_RECORD_BYTES = 256 * 1024 * 1024;

/** The error for a record beyond {@link MAX_RECORD_BYTES}. */
export function tooLarge(path: string, advice: string): DatasetError {
  return new DatasetError(
    `${path}: a document is larger than ${MAX_RECORD_BYTES} bytes and must fit in memory; ${advice}`,
  );
}

/** A record at its position, or the error for one that cannot be read, given the reason. */
export function recordAt(
  file: string,
  unit: 'line' | 'row',
  position: number,
  parsed: Record<string, unknown> | string,
): DataRecord | BadRecordError {
  return typeof parsed === 'string'
    ? new BadRecordError(file, unit, position, parsed)
    : { record: parsed, file, unit, position };
}

/** Groups entries up to each bad one, which is reported after those before it so that errors keep their order. */
export function* withoutBad<T>(
  entries: Iterable<T | BadRecordError | undefined>,
  onBadRecord: (error: BadRecordError) => void,
): Generator<T[]> {
  let group: T[] = [];
  for (const entry of entries) {
    if (entry instanceof BadRecordError) {
      yield group;
      group = [];
      onBadRecord(entry);
    } else if (entry !== undefined) group.push(entry);
  }
  yield group;
}

/** Bytes of a stream that are not consumed yet. */
export class HeldBytes {
  /** A view of {@link #buffer}, valid until the next append. */
  bytes = Buffer.alloc(0);
  #buffer = this.bytes;

  get length(): number {
    return this.bytes.length;
  }

  /** @throws DatasetError beyond {@link MAX_RECORD_BYTES} */
  append(chunk: Uint8Array, path: string, advice: string): void {
    const needed = this.length + chunk.length;
    if (needed > MAX_RECORD_BYTES) throw tooLarge(path, advice);
    if (needed > this.#buffer.length) {
      this.#buffer = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
      this.bytes.copy(this.#buffer);
    }
    this.#buffer.set(chunk, this.length);
    this.bytes = this.#buffer.subarray(0, needed);
  }

  /** Drops the first bytes; with `isShared` the rest moves to a new buffer, since views of the old one are in use. */
  drop(count: number, isShared: boolean): void {
    const rest = this.bytes.subarray(count);
    if (isShared) this.#buffer = Buffer.from(rest);
    else rest.copy(this.#buffer);
    this.bytes = this.#buffer.subarray(0, rest.length);
  }
}

/** Splits a byte stream at a separator; without one, the whole stream is a single record. */
export class RecordSplitter {
  readonly #file: string;
  readonly #separator: Buffer | undefined;
  readonly #held = new HeldBytes();

  constructor(file: string, separator: string | undefined) {
    this.#file = file;
    this.#separator = separator === undefined ? undefined : Buffer.from(separator);
  }

  /** The records that end in this chunk; they are views, valid until the next push. */
  push(chunk: Uint8Array): Buffer[] {
    const separator = this.#separator;
    const searchFrom = Math.max(0, this.#held.length - (separator?.length ?? 0) + 1);
    this.#held.append(chunk, this.#file, separator ? 'split it' : 'set a separator that splits it');
    if (!separator) return [];
    const { bytes } = this.#held;
    const records: Buffer[] = [];
    let start = 0;
    for (let at = bytes.indexOf(separator, searchFrom); at >= 0; at = bytes.indexOf(separator, start)) {
      records.push(bytes.subarray(start, at));
      start = at + separator.length;
    }
    if (start > 0) this.#held.drop(start, true);
    return records;
  }

  /** The bytes after the last separator. */
  end(): Buffer {
    return this.#held.bytes;
  }
}

/** Decodes valid UTF-8; undefined for anything else, of which nothing is replaced. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  if (!isUtf8(bytes)) return undefined;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

/** Number of line feeds in `bytes`. */
export function countNewlines(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) count++;
  return count;
}

/** Index of the first line that is not UTF-8; a line feed is never part of a longer character. */
export function lineOfInvalidUtf8(bytes: Buffer): number {
  let line = 0;
  for (let start = 0; start <= bytes.length; line++) {
    const newline = bytes.indexOf(10, start);
    const end = newline < 0 ? bytes.length : newline;
    if (!isUtf8(bytes.subarray(start, end))) return line;
    start = end + 1;
  }
  return 0;
}

/** Whether a JSON value is an object. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A value as one short line for a message. */
export function excerptOf(value: unknown): string {
  if (typeof value === 'string') return cut(value.slice(0, 300).replace(/\s+/g, ' '), 60);
  try {
    const text = JSON.stringify(value, (_key, part) => (typeof part === 'bigint' ? `${part}` : part));
    return cut(text ?? 'nothing', 60);
  } catch {
    // JSON.parse reads deeper nesting than JSON.stringify writes.
    return 'a value nested too deeply to show';
  }
}

/** A text of at most `maxLength` characters. */
export function cut(text: string, maxLength: number): string {
  return text.length > maxLength ? `${text.slice(0, maxLength)}…` : text;
}
