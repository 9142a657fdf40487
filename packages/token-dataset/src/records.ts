import { isUtf8 } from 'node:buffer';
import { type BadRecordError, DatasetError } from './errors.ts';

/** A record and where it was found. */
export interface DataRecord {
  readonly record: Readonly<Record<string, unknown>>;
  readonly file: string;
  /** What `position` counts from 1: lines of JSONL, rows of Parquet and CSV, objects of other JSON. */
  readonly unit: 'line' | 'row';
  readonly position: number;
}

export interface RecordReading {
  readonly onBadRecord: (error: BadRecordError) => void;
  readonly onBytes: (numBytes: number) => void;
  /** The only field that is of interest, which spares reading other columns of Parquet. */
  readonly field?: string;
}

/** Longer than any document that a JavaScript string and a tokenizer can hold comfortably. */
export const MAX_RECORD_BYTES = 256 * 1024 * 1024;

/** The error for a record beyond {@link MAX_RECORD_BYTES}. */
export function tooLarge(path: string, advice: string): DatasetError {
  return new DatasetError(
    `${path}: a document is larger than ${MAX_RECORD_BYTES} bytes and must fit in memory; ${advice}`,
  );
}

/** Cuts a byte stream at a separator; without one, the whole stream is a single record. */
export class RecordSplitter {
  readonly #file: string;
  readonly #separator: Buffer | undefined;
  #held = Buffer.alloc(0);
  #length = 0;

  constructor(file: string, separator: string | undefined) {
    this.#file = file;
    this.#separator = separator === undefined ? undefined : Buffer.from(separator);
  }

  /** The records that end in this chunk; they are views, valid until the next push. */
  push(chunk: Uint8Array): Buffer[] {
    const searchFrom = Math.max(0, this.#length - (this.#separator?.length ?? 0) + 1);
    this.#append(chunk);
    if (!this.#separator) return [];
    const bytes = this.#held.subarray(0, this.#length);
    const records: Buffer[] = [];
    let start = 0;
    for (let at = bytes.indexOf(this.#separator, searchFrom); at >= 0; ) {
      records.push(bytes.subarray(start, at));
      start = at + this.#separator.length;
      at = bytes.indexOf(this.#separator, start);
    }
    if (start > 0) {
      // A fresh buffer, because the records just cut are views of the old one.
      this.#held = Buffer.from(bytes.subarray(start));
      this.#length = this.#held.length;
    }
    return records;
  }

  /** What follows the last separator; empty when the stream ended with one. */
  end(): Buffer {
    return this.#held.subarray(0, this.#length);
  }

  #append(chunk: Uint8Array): void {
    const needed = this.#length + chunk.length;
    if (needed > MAX_RECORD_BYTES) {
      throw tooLarge(this.#file, this.#separator ? 'split it' : 'give a separator that splits it');
    }
    if (needed > this.#held.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.#held.length * 2));
      this.#held.copy(grown, 0, 0, this.#length);
      this.#held = grown;
    }
    this.#held.set(chunk, this.#length);
    this.#length = needed;
  }
}

/** The text of valid UTF-8, undefined for anything else; nothing is replaced silently. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  if (!isUtf8(bytes)) return undefined;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

/** How many line ends there are in `bytes`. */
export function countNewlines(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) count++;
  return count;
}

/** Offset in lines of the first line that is not UTF-8; a line end is never part of a longer character. */
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
