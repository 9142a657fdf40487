/** Receives request bodies in bounded memory. */
import type { Readable } from 'node:stream';
import { ApiError } from './api-error.ts';

export interface Upload {
  readonly bytes: Buffer;
  /** Releases the memory; further calls have no effect. */
  release(): void;
}

// Bytes of each body that are not counted, so that small requests are accepted beside large ones.
const UNCOUNTED = 64 * 1024;

interface Incoming {
  numCounted: number;
  fail(error: ApiError): void;
}

/** Receives bodies of at most `maxBytes` together; beyond, the oldest incomplete one is refused. */
export class Uploads {
  readonly #maxBytes: number;
  #held = 0;
  /** Oldest first. */
  readonly #incoming = new Set<Incoming>();

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * @param limit maximum bytes of this body
   * @param contentLength the length of the body, if known
   * @throws ApiError 413 if it is longer, 429 if no memory is left, 400 if it is incomplete
   */
  receive(stream: Readable, limit: number, contentLength: number | undefined): Promise<Upload> {
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let length = 0;
      const tooLong = () =>
        new ApiError(413, `body: got more than ${limit} bytes, expected at most that; request less at once`, {
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
          // Reads and discards the rest, or the client would not see the response.
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
        if (this.#held > this.#maxBytes) this.#makeRoom();
      };
      const onEnd = () => {
        end();
        resolve({ bytes: Buffer.concat(chunks, length), release });
      };
      const onError = () => incoming.fail(new ApiError(400, 'body: incomplete'));
      this.#incoming.add(incoming);
      if (contentLength !== undefined && contentLength > limit) return incoming.fail(tooLong());
      stream.on('data', onData).on('end', onEnd).on('error', onError).on('close', onError);
    });
  }

  #makeRoom(): void {
    for (const incoming of this.#incoming) {
      if (incoming.numCounted === 0) continue;
      incoming.fail(
        new ApiError(429, 'body: too many large requests at once; try again later', { code: 'queue_full' }),
      );
      if (this.#held <= this.#maxBytes) return;
    }
  }
}
