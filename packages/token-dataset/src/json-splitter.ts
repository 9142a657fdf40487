import { DatasetError } from './errors.ts';
import { countNewlines, HeldBytes } from './records.ts';

/** The JSON of one record, or of an object that may wrap records in `data`. */
export interface JsonPiece {
  readonly bytes: Buffer;
  /** Whether it is a top-level value, not an entry of a list. */
  readonly isTop: boolean;
}

/** In an object larger than this, the entries of an open list in `data` are returned one by one. */
const STREAM_BYTES = 8 * 1024 * 1024;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

/** The four white space characters of JSON; other control characters are part of a value, which is then malformed. */
function isWhite(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/**
 * Splits a byte stream of JSON into its records: the entries of an array, of an array in `data` of an object, or values
 * one after the other.
 *
 * It scans for brackets and quotes only, several times as fast as a parser; `JSON.parse` then reads each record. One
 * record is held at a time.
 */
export class JsonSplitter {
  readonly #path: string;
  readonly #held = new HeldBytes();
  /** Offset of the next byte to scan. */
  #at = 0;
  /** Offset of the current value, or -1 between values. */
  #start = -1;
  #depth = 0;
  #inString = false;
  #context: 'top' | 'list' | 'data' | 'rest' = 'top';
  #expectsComma = false;
  /** Offset of an open list in `data` of the current object, or -1. */
  #dataAt = -1;
  #line = 1;

  constructor(path: string) {
    this.#path = path;
  }

  /** The pieces that end in this chunk; their bytes are views, valid until the next push. */
  push(chunk: Uint8Array): JsonPiece[] {
    this.#held.append(chunk, this.#path, 'split it');
    const pieces: JsonPiece[] = [];
    while (this.#at < this.#held.length) {
      if (this.#start < 0 && !this.#begin()) continue;
      if (this.#advance()) this.#finish(pieces);
      else if (this.#held.length - this.#start > STREAM_BYTES && this.#dataAt >= 0) this.#enterData();
    }
    this.#compact(pieces.length > 0);
    return pieces;
  }

  /** A last value that has no delimiter after it, such as a number. */
  end(): JsonPiece[] {
    const isComplete = this.#start < 0 || (this.#depth === 0 && !this.#inString);
    if (!isComplete || this.#context !== 'top') {
      throw this.#damaged('it ends in the middle', 'the file may be cut off');
    }
    if (this.#start < 0) return [];
    return [{ bytes: this.#held.bytes.subarray(this.#start), isTop: true }];
  }

  /** Skips one byte between values; true, without skipping, where a value begins. */
  #begin(): boolean {
    const byte = this.#held.bytes[this.#at];
    const isList = this.#context !== 'top';
    if (isWhite(byte)) {
      this.#at++;
      return false;
    }
    if (isList && byte === COMMA && this.#expectsComma) this.#expectsComma = false;
    else if (isList && byte === CLOSE_LIST) {
      this.#expectsComma = false;
      if (this.#context === 'data') {
        this.#context = 'rest';
        this.#start = this.#at;
        this.#depth = 2;
        return true;
      }
      this.#context = 'top';
    } else if (!isList && byte === OPEN_LIST) {
      this.#context = 'list';
      this.#expectsComma = false;
    } else if (isList && this.#expectsComma) throw this.#damaged('no comma between two entries');
    else if (byte === COMMA || byte === CLOSE_LIST || byte === CLOSE_OBJECT) {
      throw this.#damaged(`got ${String.fromCharCode(byte)}, expected a record`);
    } else {
      this.#start = this.#at;
      this.#depth = 0;
      this.#dataAt = -1;
      return true;
    }
    this.#at++;
    return false;
  }

  /** Scans for the end of the current value; true where `#at` is just behind it. */
  #advance(): boolean {
    const { bytes } = this.#held;
    const end = bytes.length;
    let at = this.#at;
    let depth = this.#depth;
    let inString = this.#inString;
    let isDone = false;
    while (at < end && !isDone) {
      if (inString) {
        while (at < end && bytes[at] !== QUOTE) at += bytes[at] === BACKSLASH ? 2 : 1;
        if (at >= end) break;
        inString = false;
        at++;
        isDone = depth === 0;
        continue;
      }
      const byte = bytes[at];
      if (byte === QUOTE) inString = true;
      else if (byte === OPEN_OBJECT || byte === OPEN_LIST) {
        const isTopList = depth === 1 && byte === OPEN_LIST && this.#context === 'top';
        if (isTopList && this.#isData(at)) this.#dataAt = at;
        depth++;
      } else if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) {
        // A number in a list, or at the top, ends before a bracket.
        if (depth === 0) {
          isDone = true;
          break;
        }
        depth--;
        if (depth === 1) this.#dataAt = -1;
        isDone = depth === 0;
      } else if (depth === 0 && (byte === COMMA || isWhite(byte))) {
        isDone = true;
        break;
      }
      at++;
    }
    this.#at = at;
    this.#depth = depth;
    this.#inString = inString;
    return isDone;
  }

  /** Whether the list that opens here is the value of a key `data`. */
  #isData(at: number): boolean {
    const before = this.#held.bytes.toString('latin1', Math.max(this.#start, at - 64), at);
    return /(?<!\\)"data"\s*:\s*$/.test(before);
  }

  #enterData(): void {
    const at = this.#dataAt;
    const first = /\S/.exec(this.#held.bytes.toString('latin1', at + 1, at + 1025))?.[0];
    this.#dataAt = -1;
    if (first !== '{') return;
    this.#context = 'data';
    this.#at = at + 1;
    this.#start = -1;
    this.#inString = false;
    this.#expectsComma = false;
  }

  #finish(pieces: JsonPiece[]): void {
    if (this.#context === 'rest') this.#context = 'top';
    else {
      const bytes = this.#held.bytes.subarray(this.#start, this.#at);
      pieces.push({ bytes, isTop: this.#context === 'top' });
      this.#expectsComma = true;
    }
    this.#start = -1;
  }

  /** Drops the bytes that are no longer needed. */
  #compact(isShared: boolean): void {
    // The bytes after a list in `data` are not used.
    const isUsed = this.#context !== 'rest' && this.#start >= 0;
    const count = Math.min(isUsed ? this.#start : this.#at, this.#held.length);
    if (count === 0) return;
    this.#line += countNewlines(this.#held.bytes.subarray(0, count));
    this.#held.drop(count, isShared);
    this.#at -= count;
    if (this.#start >= 0) this.#start = Math.max(0, this.#start - count);
    if (this.#dataAt >= 0) this.#dataAt -= count;
  }

  #damaged(reason: string, advice?: string): DatasetError {
    const line = this.#line + countNewlines(this.#held.bytes.subarray(0, this.#at));
    return new DatasetError(
      `${this.#path}, line ${line}: damaged JSON: ${reason}${advice ? `; ${advice}` : ''}`,
    );
  }
}
