import { DatasetError } from './errors.ts';
import { countNewlines, MAX_RECORD_BYTES, tooLarge } from './records.ts';

/** A piece of JSON that is a record, or at the top a list of them in its `data`. */
export interface JsonPiece {
  readonly bytes: Buffer;
  /** Whether it stands by itself, not in a list. */
  readonly isTop: boolean;
}

/**
 * An object beyond this is not held as a whole if most of it is a list in `data`, whose entries are then given out
 * as they come.
 */
const STREAM_BYTES = 8 * 1024 * 1024;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

/** JSON's own four; other control characters are part of a value, which is then malformed. */
function isWhite(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/**
 * Cuts a byte stream of JSON into its records: the entries of an array, of an array in `data` of an object, or values
 * one after the other.
 *
 * Only brackets and quotes are looked at, several times as fast as a parser; what lies between them is for `JSON.parse`,
 * record by record. One record is held at a time.
 */
export class JsonSplitter {
  readonly #path: string;
  #held = Buffer.alloc(0);
  #length = 0;
  /** How far has been looked. */
  #at = 0;
  /** Where the value under way began, or -1 between values. */
  #start = -1;
  #depth = 0;
  #inString = false;
  #place: 'top' | 'list' | 'data' | 'rest' = 'top';
  #expectsComma = false;
  /** Where an open list in `data` of the object under way begins, or -1. */
  #dataAt = -1;
  #line = 1;

  constructor(path: string) {
    this.#path = path;
  }

  /** The pieces that end in this chunk; their bytes are views, valid until the next push. */
  push(chunk: Uint8Array): JsonPiece[] {
    this.#append(chunk);
    const pieces: JsonPiece[] = [];
    while (this.#at < this.#length) {
      if (this.#start < 0 && !this.#begin()) continue;
      if (this.#advance()) this.#finish(pieces);
      else if (this.#length - this.#start > STREAM_BYTES && this.#dataAt >= 0) this.#enterData();
    }
    this.#compact(pieces.length > 0);
    return pieces;
  }

  /** What is left: a last value that nothing delimits, such as a number. */
  end(): JsonPiece[] {
    const isComplete = this.#start < 0 || (this.#depth === 0 && !this.#inString);
    if (!isComplete || this.#place !== 'top') {
      throw this.#damaged('it ends in the middle', 'the file may be cut off');
    }
    if (this.#start < 0) return [];
    return [{ bytes: this.#held.subarray(this.#start, this.#length), isTop: true }];
  }

  /** Steps over one byte between values; true where a value begins, at which it stays. */
  #begin(): boolean {
    const byte = this.#held[this.#at];
    const isList = this.#place !== 'top';
    if (isWhite(byte)) {
      this.#at++;
      return false;
    }
    if (isList && byte === COMMA && this.#expectsComma) this.#expectsComma = false;
    else if (isList && byte === CLOSE_LIST) {
      this.#expectsComma = false;
      if (this.#place === 'data') {
        this.#place = 'rest';
        this.#start = this.#at;
        this.#depth = 2;
        return true;
      }
      this.#place = 'top';
    } else if (!isList && byte === OPEN_LIST) {
      this.#place = 'list';
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

  /** Looks for the end of the value under way; whether it is there, and `#at` just behind it. */
  #advance(): boolean {
    const bytes = this.#held;
    const end = this.#length;
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
        if (depth === 1 && byte === OPEN_LIST && this.#place === 'top' && this.#isData(at)) this.#dataAt = at;
        depth++;
      } else if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) {
        // A number in a list, or in nothing, ends before a bracket.
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
    const before = this.#held.toString('latin1', Math.max(this.#start, at - 64), at);
    return /(?<!\\)"data"\s*:\s*$/.test(before);
  }

  #enterData(): void {
    const first = /[^\s]/.exec(this.#held.toString('latin1', this.#dataAt + 1, this.#dataAt + 1025))?.[0];
    const at = this.#dataAt;
    this.#dataAt = -1;
    if (first !== '{') return;
    this.#place = 'data';
    this.#at = at + 1;
    this.#start = -1;
    this.#inString = false;
    this.#expectsComma = false;
  }

  #finish(pieces: JsonPiece[]): void {
    if (this.#place === 'rest') this.#place = 'top';
    else {
      pieces.push({
        bytes: this.#held.subarray(this.#start, this.#at),
        isTop: this.#place === 'top',
      });
      this.#expectsComma = true;
    }
    this.#start = -1;
  }

  #append(chunk: Uint8Array): void {
    const needed = this.#length + chunk.length;
    if (needed > MAX_RECORD_BYTES) throw tooLarge(this.#path, 'split it');
    if (needed > this.#held.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.#held.length * 2));
      this.#held.copy(grown, 0, 0, this.#length);
      this.#held = grown;
    }
    this.#held.set(chunk, this.#length);
    this.#length = needed;
  }

  /** Lets go of what has been given out, in a fresh buffer because pieces are views of the old one. */
  #compact(isShared: boolean): void {
    // What follows a list in `data` is of no use.
    const keep = Math.min(this.#place === 'rest' || this.#start < 0 ? this.#at : this.#start, this.#length);
    if (keep === 0) return;
    this.#line += countNewlines(this.#held.subarray(0, keep));
    const rest = this.#held.subarray(keep, this.#length);
    if (isShared) this.#held = Buffer.from(rest);
    else rest.copy(this.#held);
    this.#length = rest.length;
    this.#at -= keep;
    if (this.#start >= 0) this.#start = Math.max(0, this.#start - keep);
    if (this.#dataAt >= 0) this.#dataAt -= keep;
  }

  #damaged(reason: string, advice?: string): DatasetError {
    const line = this.#line + countNewlines(this.#held.subarray(0, Math.min(this.#at, this.#length)));
    return new DatasetError(
      `${this.#path}, line ${line}: damaged JSON: ${reason}${advice ? `; ${advice}` : ''}`,
    );
  }
}
