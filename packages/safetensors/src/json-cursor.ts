import { SafetensorsError, show } from './error.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const NOT_PLAIN = /[\\\p{Cc}]/u;
const INTEGER = /(?:0|[1-9]\d{0,15})(?![\d.eE])/y;
const OTHER_SCALAR = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
const MAX_DEPTH = 32;
// Twice the items of the largest published index; reading them takes less than a second.
const MAX_ITEMS = 250_000;

/**
 * A strict reader of JSON of a known shape, which builds only the values that the caller reads.
 *
 * JSON.parse would hide duplicate keys, round large integers, and turn 100 MB of hostile text into gigabytes of objects
 * before any check. Here the first invalid field ends the reading.
 */
export class JsonCursor {
  readonly #text: string;
  readonly #where: string;
  #at = 0;

  /** @param where file and part of it, for error messages */
  constructor(bytes: Uint8Array, where: string) {
    this.#where = where;
    try {
      this.#text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch (cause) {
      throw new SafetensorsError(`${where}: is not UTF-8; the file is damaged`, { cause });
    }
  }

  /** Reads an object; `onField` must read the value of its field. Refuses duplicate keys. */
  object(what: string, onField: (key: string) => void): void {
    const keys = new Set<string>();
    this.#list(what, '{', '}', () => {
      const key = this.string('a key');
      if (keys.has(key)) this.fail(`duplicate key ${show(key)} in ${what}`);
      keys.add(key);
      if (!this.#take(':')) this.#unexpected('":"');
      onField(key);
    });
  }

  /** Reads an array; `onItem` must read one item. */
  array(what: string, onItem: () => void): void {
    this.#list(what, '[', ']', onItem);
  }

  /** Reads a string. */
  string(what: string): string {
    this.#skipSpace();
    const text = this.#text;
    if (text.charCodeAt(this.#at) !== QUOTE) this.#unexpected(what);
    let end = text.indexOf('"', this.#at + 1);
    const plain = end < 0 ? '\\' : text.slice(this.#at + 1, end);
    if (!NOT_PLAIN.test(plain)) {
      this.#at = end + 1;
      return plain;
    }
    end = this.#at + 1;
    while (end < text.length && text.charCodeAt(end) !== QUOTE)
      end += text.charCodeAt(end) === BACKSLASH ? 2 : 1;
    let value: string;
    try {
      value = JSON.parse(text.slice(this.#at, end + 1));
    } catch {
      return this.#unexpected(what);
    }
    // A lone surrogate has no UTF-8 form: two such names would become equal when written.
    if (/\p{Surrogate}/u.test(value)) this.fail(`${what} has a lone surrogate, got ${show(value)}`);
    this.#at = end + 1;
    return value;
  }

  /** Reads an integer from 0 to 2^53 − 1, written without sign, point or exponent. */
  integer(what: string): number {
    const digits = this.#match(INTEGER);
    if (digits === undefined || !Number.isSafeInteger(Number(digits))) {
      return this.#unexpected(`${what}, an integer from 0 to 2^53 - 1`);
    }
    return Number(digits);
  }

  /** Skips a value of any kind. */
  skip(depth = 0): void {
    if (depth > MAX_DEPTH) this.fail(`values nested deeper than ${MAX_DEPTH}`);
    this.#skipSpace();
    const next = this.#text[this.#at];
    if (next === '{') this.object('a value', () => this.skip(depth + 1));
    else if (next === '[') this.array('a value', () => this.skip(depth + 1));
    else if (next === '"') this.string('a string');
    else if (!this.#match(OTHER_SCALAR)) this.#unexpected('a value');
  }

  /** Requires that nothing but white space follows. */
  end(): void {
    this.#skipSpace();
    if (this.#at < this.#text.length) this.#unexpected('the end');
  }

  /** Throws a {@link SafetensorsError}. */
  fail(problem: string): never {
    throw new SafetensorsError(`${this.#where}: ${problem}`);
  }

  #list(what: string, open: string, close: string, onItem: () => void): void {
    if (!this.#take(open)) this.#unexpected(what);
    if (this.#take(close)) return;
    let numItems = 0;
    do {
      if (++numItems > MAX_ITEMS) this.fail(`more than ${MAX_ITEMS} items in ${what}`);
      onItem();
    } while (this.#take(','));
    if (!this.#take(close)) this.#unexpected(`"," or "${close}"`);
  }

  #take(character: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #match(pattern: RegExp): string | undefined {
    this.#skipSpace();
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    this.#at += found?.length ?? 0;
    return found;
  }

  #skipSpace(): void {
    for (let code = this.#text.charCodeAt(this.#at); isSpace(code); code = this.#text.charCodeAt(this.#at)) {
      this.#at++;
    }
  }

  #unexpected(expected: string): never {
    const found = this.#text.slice(this.#at, this.#at + 20);
    return this.fail(
      `not the JSON of the format at character ${this.#at}, got ${found ? JSON.stringify(found) : 'the end'}, expected ${expected}`,
    );
  }
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}
