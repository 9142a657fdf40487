/** Bodies of requests on their way in, in bounded memory. */
import type { Readable } from 'node:stream';
import { ApiError } from './api-error.ts';

/** A body that has come whole. */
export interface Upload {
  readonly bytes: Buffer;
  /** Frees its memory for others. */
  release(): void;
}

// Of each body so much is not counted: small requests get in beside any number of large ones.
const UNCOUNTED = 64 * 1024;

interface Incoming {
  numCounted: number;
  fail(error: ApiError): void;
}

/**
 * Receives bodies, of which all together hold at most so many bytes.
 *
 * When they would be more, the one that has been sending longest gives way: a slow client cannot keep
 * others out.
 */
export class Uploads {
  readonly #most: number;
  #held = 0;
  /** Oldest first. */
  readonly #incoming = new Set<Incoming>();

  constructor(most: number) {
    this.#most = most;
  }

  /**
   * @param limit most bytes of this body
   * @param announced its length, where the client says it
   * @throws ApiError 413 for a longer one, 429 when there is no memory left, 400 where the client stops in the middle
   */
  receive(stream: Readable, limit: number, announced: number | undefined): Promise<Upload> {
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let length = 0;
      const tooLong = () =>
        new ApiError(413, `body: got more than ${limit} bytes, expected at most that; ask for less at once`, {
          code: 'body_too_large',
        });
      const end = () => {
        this.#incoming.delete(incoming);
        stream.off('data', onData).off('end', onEnd).off('error', onError).off('close', onError);
      };
      const release = () => {
        this.#held -= incoming.numCounted;
        incoming.numCounted = 0;
      };
      const incoming: Incoming = {
        numCounted: 0,
        fail: (error) => {
          end();
          release();
          chunks.length = 0;
          // Read on and forgotten: a client that is still sending would otherwise not see the answer.
          stream.on('error', () => {}).resume();
          reject(error);
        },
      };
      const onData = (chunk: Buffer) => {
        length += chunk.length;
        if (length > limit) return incoming.fail(tooLong());
        chunks.push(chunk);
        const numCounted = Math.max(0, length - UNCOUNTED);
        this.#held += numCounted - incoming.numCounted;
        incoming.numCounted = numCounted;
        if (this.#held > this.#most) this.#makeRoom();
      };
      const onEnd = () => {
        end();
        resolve({ bytes: Buffer.concat(chunks, length), release });
      };
      const onError = () => incoming.fail(new ApiError(400, 'body: ended in the middle, expected all of it'));
      this.#incoming.add(incoming);
      if (announced !== undefined && announced > limit) return incoming.fail(tooLong());
      stream.on('data', onData).on('end', onEnd).on('error', onError).on('close', onError);
    });
  }

  #makeRoom(): void {
    for (const incoming of this.#incoming) {
      if (incoming.numCounted === 0) continue;
      incoming.fail(
        new ApiError(429, 'body: too many large requests at once; try again later', { code: 'queue_full' }),
      );
      if (this.#held <= this.#most) return;
    }
  }
}
