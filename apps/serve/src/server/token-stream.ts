/** How a text ended: with a token or text that ends it, or because it was long enough. */
export type FinishReason = 'stop' | 'length';

/** A token of the vocabulary and how likely it was. */
export interface RankedToken {
  readonly id: number;
  /** Natural logarithm of its probability given all before it. */
  readonly logprob: number;
}

/** A token of a prompt or an answer, as an engine yields it. */
export interface StreamedToken {
  readonly id: number;
  readonly isPrompt: boolean;
  /** Absent where it was not asked for, and for the first token of a prompt, which nothing precedes. */
  readonly logprob?: number;
  /** The most likely tokens at its place, likeliest first. */
  readonly top?: readonly RankedToken[];
}

/**
 * Tokens on their way from the engine to one reader, in batches of whatever has come since the last.
 *
 * A slow reader delays nobody: the engine goes on and frees the sequence's place when it is done, and what waits here is
 * at most a context's tokens.
 */
export class TokenStream implements AsyncIterableIterator<StreamedToken[], void> {
  #finish: FinishReason | undefined;
  #buffer: StreamedToken[] = [];
  #error: unknown;
  #isOver = false;
  #resume: (() => void) | undefined;

  /** How the text ended, once it has. */
  get finish(): FinishReason | undefined {
    return this.#finish;
  }

  /** Whether nothing more is taken: ended, failed, or left by its reader. */
  get isOver(): boolean {
    return this.#isOver;
  }

  push(token: StreamedToken): void {
    if (this.#isOver) return;
    this.#buffer.push(token);
    this.#wake();
  }

  /** Ends the stream behind what has been pushed. */
  end(finish: FinishReason): void {
    if (this.#isOver) return;
    this.#finish = finish;
    this.#isOver = true;
    this.#wake();
  }

  /** Ends the stream at once; the reader gets the error. */
  fail(error: unknown): void {
    this.#error ??= error;
    this.#leave();
  }

  async next(): Promise<IteratorResult<StreamedToken[], void>> {
    while (this.#buffer.length === 0) {
      if (this.#error !== undefined) throw this.#error;
      if (this.#isOver) return { done: true, value: undefined };
      await new Promise<void>((resolve) => {
        this.#resume = resolve;
      });
    }
    const value = this.#buffer;
    this.#buffer = [];
    return { done: false, value };
  }

  /** The reader leaves; the engine forgets the sequence before its next step. */
  async return(): Promise<IteratorResult<StreamedToken[], void>> {
    this.#leave();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #leave(): void {
    this.#isOver = true;
    this.#buffer = [];
    this.#wake();
  }

  #wake(): void {
    this.#resume?.();
    this.#resume = undefined;
  }
}
