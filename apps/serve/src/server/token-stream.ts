/** Why a text ended: at a stop id or stop sequence, or at its maximum length. */
export type FinishReason = 'stop' | 'length';

/** A token with its log-probability. */
export interface RankedToken {
  readonly id: number;
  /** Natural logarithm of the probability given the preceding tokens. */
  readonly logprob: number;
}

/** A token of a prompt or an answer. */
export interface StreamedToken {
  readonly id: number;
  readonly isPrompt: boolean;
  /** Undefined if not requested, and for the first token of a prompt. */
  readonly logprob?: number;
  /** The most likely tokens at this position, in descending order. */
  readonly top?: readonly RankedToken[];
}

/**
 * A queue of tokens from the engine to one reader, which reads all queued tokens at once.
 *
 * A slow reader does not block the engine: the queue holds at most a context of tokens.
 */
export class TokenStream implements AsyncIterableIterator<StreamedToken[], void> {
  #finish: FinishReason | undefined;
  #buffer: StreamedToken[] = [];
  #error: unknown;
  #isClosed = false;
  #resume: (() => void) | undefined;

  /** Why the text ended; undefined before. */
  get finish(): FinishReason | undefined {
    return this.#finish;
  }

  /** Whether the stream has ended, failed, or was returned by its reader. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  push(token: StreamedToken): void {
    if (this.#isClosed) return;
    this.#buffer.push(token);
    this.#wake();
  }

  /** Ends the stream after the queued tokens. */
  end(finish: FinishReason): void {
    if (this.#isClosed) return;
    this.#finish = finish;
    this.#isClosed = true;
    this.#wake();
  }

  /** Ends the stream immediately with an error. */
  fail(error: unknown): void {
    this.#error ??= error;
    this.#close();
  }

  async next(): Promise<IteratorResult<StreamedToken[], void>> {
    while (this.#buffer.length === 0) {
      if (this.#error !== undefined) throw this.#error;
      if (this.#isClosed) return { done: true, value: undefined };
      await new Promise<void>((resolve) => {
        this.#resume = resolve;
      });
    }
    const value = this.#buffer;
    this.#buffer = [];
    return { done: false, value };
  }

  /** Closes the stream; the engine removes the sequence before its next step. */
  async return(): Promise<IteratorResult<StreamedToken[], void>> {
    this.#close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #close(): void {
    this.#isClosed = true;
    this.#buffer = [];
    this.#wake();
  }

  #wake(): void {
    this.#resume?.();
    this.#resume = undefined;
  }
}
