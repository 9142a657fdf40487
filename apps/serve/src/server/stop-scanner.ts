/** Texts that end an answer, prepared once for all the answers of a request. */
export class StopTexts {
  readonly #stops: readonly { readonly text: string; readonly borders: Uint16Array }[];

  /** @param texts none of them empty, none longer than 65,535 characters */
  constructor(texts: readonly string[]) {
    this.#stops = [...new Set(texts)].map((text) => ({ text, borders: bordersOf(text) }));
  }

  /** How much of each text has been matched, at the beginning: nothing. */
  start(): Uint16Array {
    return new Uint16Array(this.#stops.length);
  }

  /**
   * Goes on in a text, in time that grows with the text and the number of stop texts, but not with their length
   * (Knuth, Morris and Pratt 1977).
   *
   * @param matched how much of each stop text the text so far ends with; becomes what it ends with now
   * @returns where the earliest stop text that ends in `text` begins, which may be before it; undefined without one
   */
  scan(text: string, matched: Uint16Array): number | undefined {
    let first: number | undefined;
    for (const [index, { text: stop, borders }] of this.#stops.entries()) {
      let length = matched[index];
      for (let at = 0; at < text.length; at++) {
        const unit = text.charCodeAt(at);
        while (length > 0 && stop.charCodeAt(length) !== unit) length = borders[length - 1];
        if (stop.charCodeAt(length) === unit) length++;
        if (length < stop.length) continue;
        const start = at + 1 - length;
        if (first === undefined || start < first) first = start;
        break;
      }
      matched[index] = length;
    }
    return first;
  }
}

/** At each place of a text, the length of the longest part before its end that the text also begins with. */
function bordersOf(text: string): Uint16Array {
  const borders = new Uint16Array(text.length);
  let length = 0;
  for (let at = 1; at < text.length; at++) {
    while (length > 0 && text.charCodeAt(length) !== text.charCodeAt(at)) length = borders[length - 1];
    if (text.charCodeAt(length) === text.charCodeAt(at)) length++;
    borders[at] = length;
  }
  return borders;
}

/**
 * Text that grows by the bytes of tokens, and ends at the first of some stop texts.
 *
 * Text is held back while it ends in the middle of a character or could still become a stop text, so that nothing
 * that has been given out is ever taken back.
 */
export class StopScanner {
  readonly #stops: StopTexts;
  readonly #matched: Uint16Array;
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  #held = '';
  #numCharacters = 0;
  #isStopped = false;

  constructor(stops: StopTexts) {
    this.#stops = stops;
    this.#matched = stops.start();
  }

  /** Whether a stop text has come; it and what follows are not given out. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Length of all text so far, that which is held back too, in code points. */
  get numCharacters(): number {
    return this.#numCharacters;
  }

  /** Adds the bytes of a token; returns the text that is certain now. */
  push(bytes: Uint8Array): string {
    return this.#add(this.#decoder.decode(bytes, { stream: true }));
  }

  /** Ends the text; returns what was held back. */
  end(): string {
    const text = this.#add(this.#decoder.decode()) + this.#held;
    this.#held = '';
    return text;
  }

  #add(text: string): string {
    if (this.#isStopped) return '';
    const all = this.#held + text;
    const start = this.#stops.scan(text, this.#matched);
    if (start !== undefined) {
      const at = this.#held.length + start;
      this.#numCharacters += numCharacters(all.slice(0, at)) - numCharacters(this.#held);
      this.#held = '';
      this.#isStopped = true;
      return all.slice(0, at);
    }
    this.#numCharacters += numCharacters(text);
    const certain = all.length - Math.max(0, ...this.#matched);
    this.#held = all.slice(certain);
    return all.slice(0, certain);
  }
}

function numCharacters(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}
