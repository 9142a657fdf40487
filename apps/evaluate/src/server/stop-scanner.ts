/**
 * Text that grows by the bytes of tokens, and ends at the first of some stop texts.
 *
 * Text is held back while it ends in the middle of a character or could still become a stop text, so that nothing
 * that has been given out is ever taken back.
 */
export class StopScanner {
  readonly #stops: readonly string[];
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  #held = '';
  #numCharacters = 0;
  #isStopped = false;

  /** @param stops none of them empty */
  constructor(stops: readonly string[]) {
    this.#stops = stops;
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
    const found = this.#stops.map((stop) => all.indexOf(stop)).filter((at) => at >= 0);
    if (found.length > 0) {
      const at = Math.min(...found);
      this.#numCharacters += numCharacters(all.slice(0, at)) - numCharacters(this.#held);
      this.#held = '';
      this.#isStopped = true;
      return all.slice(0, at);
    }
    this.#numCharacters += numCharacters(text);
    const certain = all.length - this.#longestBeginning(all);
    this.#held = all.slice(certain);
    return all.slice(0, certain);
  }

  /** Length of the longest end of the text that a stop text begins with. */
  #longestBeginning(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
        if (stop.startsWith(text.slice(text.length - length))) {
          longest = length;
          break;
        }
      }
    }
    return longest;
  }
}

function numCharacters(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}
