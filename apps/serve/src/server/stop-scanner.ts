/** Stop sequences, preprocessed for all answers to a request. */
export class StopSequences {
  readonly #stops: readonly { readonly text: string; readonly borders: Uint16Array }[];

  /** @param texts of 1 to 65,535 characters */
  constructor(texts: readonly string[]) {
    this.#stops = [...new Set(texts)].map((text) => ({ text, borders: bordersOf(text) }));
  }

  /** Returns the initial state: the matched length of each stop sequence. */
  start(): Uint16Array {
    return new Uint16Array(this.#stops.length);
  }

  /**
   * Continues the search in a text, in time independent of the length of the stop sequences (Knuth, Morris and Pratt
   * 1977).
   *
   * @param matched the state, updated in place
   * @returns the start of the earliest stop sequence that ends in `text`, negative if it starts before; or undefined
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

/** Returns the length of the longest proper border of each prefix of a text. */
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
 * Decodes the bytes of tokens until the first stop sequence.
 *
 * Text is held back while it ends with an incomplete character or a prefix of a stop sequence, so that returned text is
 * final.
 */
export class StopScanner {
  readonly #stops: StopSequences;
  readonly #matched: Uint16Array;
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  #held = '';
  #numCharacters = 0;
  #isStopped = false;

  constructor(stops: StopSequences) {
    this.#stops = stops;
    this.#matched = stops.start();
  }

  /** Whether a stop sequence was found; it and later text are not returned. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Length of the text in code points, including text held back. */
  get numCharacters(): number {
    return this.#numCharacters;
  }

  /** Adds the bytes of a token; returns the text that is final. */
  push(bytes: Uint8Array): string {
    return this.#add(this.#decoder.decode(bytes, { stream: true }));
  }

  /** Ends the text; returns the text held back. */
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
    const final = all.length - Math.max(0, ...this.#matched);
    this.#held = all.slice(final);
    return all.slice(0, final);
  }
}

function numCharacters(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}
