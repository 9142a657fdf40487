import { join } from 'node:path';
import type { EncodedBatch } from './encode.ts';
import type { ShardRecord } from './manifest.ts';
import { ShardWriter } from './shard.ts';

/** Cuts a stream of documents into shard files of one folder. */
export class ShardSink {
  readonly #folder: string;
  readonly #bytesPerToken: 2 | 4;
  readonly #maxTokens: number;
  readonly #shards: ShardRecord[] = [];
  #writer: ShardWriter | undefined;
  #numBytes = 0;

  constructor(folder: string, bytesPerToken: 2 | 4, maxTokens: number) {
    this.#folder = folder;
    this.#bytesPerToken = bytesPerToken;
    this.#maxTokens = maxTokens;
  }

  /** @param taken tokens of each document that are written; those beyond its end are left out */
  append(texts: readonly string[], batch: EncodedBatch, taken: readonly number[]): void {
    let start = 0;
    for (const [i, numTokens] of taken.entries()) {
      const length = batch.lengths[i];
      const tokens = batch.tokens.subarray(start, start + numTokens);
      // A document that is cut has its bytes in proportion.
      const bytes = Buffer.byteLength(texts[i]);
      const textBytes = numTokens === length ? bytes : Math.round((bytes * numTokens) / length);
      start += length;
      this.#writer ??= new ShardWriter(join(this.#folder, this.#fileName()), this.#bytesPerToken);
      this.#writer.append(tokens, textBytes);
      this.#numBytes += textBytes;
      if (this.#writer.numTokens >= this.#maxTokens) this.#closeShard();
    }
  }

  /** Completes the last shard. */
  finish(): ShardRecord[] {
    if (this.#writer) this.#closeShard();
    return this.#shards;
  }

  close(): void {
    this.#writer?.close();
    this.#writer = undefined;
  }

  #closeShard(): void {
    const { numTokens, numDocuments, maxTokenId, sha256 } = this.#writer!.finish();
    const counts = { numTokens, numDocuments, numBytes: this.#numBytes, maxTokenId, sha256 };
    this.#shards.push({ file: this.#fileName(), ...counts });
    this.#writer = undefined;
    this.#numBytes = 0;
  }

  #fileName(): string {
    return `shard-${String(this.#shards.length).padStart(5, '0')}.bin`;
  }
}
