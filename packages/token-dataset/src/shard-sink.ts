import { closeSync, openSync, readdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { guard } from './append-file.ts';
import type { EncodedBatch } from './encode.ts';
import { DatasetError } from './errors.ts';
import type { ShardRecord } from './manifest.ts';
import { indexPath, readShardHeader, type ShardMark, ShardWriter } from './shard.ts';

/** State of a sink from which another process can continue. */
export interface SinkMark {
  readonly shards: readonly ShardRecord[];
  /** The unfinished shard, and the bytes of its texts. */
  readonly open: (ShardMark & { readonly numBytes: number }) | null;
}

/** Splits a stream of documents into shard files of one folder. */
export class ShardSink {
  readonly #folder: string;
  readonly #bytesPerToken: 2 | 4;
  readonly #maxTokens: number;
  readonly #shards: ShardRecord[] = [];
  #writer: ShardWriter | undefined;
  #numBytes = 0;
  #numTidied = 0;

  constructor(folder: string, bytesPerToken: 2 | 4, maxTokens: number) {
    this.#folder = folder;
    this.#bytesPerToken = bytesPerToken;
    this.#maxTokens = maxTokens;
  }

  /** Number of finished shards. */
  get numShards(): number {
    return this.#shards.length;
  }

  /** Continues from a mark, with its unfinished shard. */
  async restore({ shards, open }: SinkMark): Promise<void> {
    for (const { file, sha256 } of shards) requireHeader(join(this.#folder, file), sha256);
    this.#shards.push(...shards);
    const path = join(this.#folder, this.#fileName());
    if (open) this.#writer = await ShardWriter.reopen(path, this.#bytesPerToken, open);
    this.#numBytes = open?.numBytes ?? 0;
    const kept = new Set(shards.map(({ file }) => file));
    if (open) for (const name of [path, indexPath(path)]) kept.add(basename(name));
    // Shards started after the mark are removed.
    for (const name of readdirSync(this.#folder)) {
      if (name.startsWith('shard-') && !kept.has(name)) rmSync(join(this.#folder, name));
    }
  }

  /** @param taken number of tokens to write of each document; documents beyond its end are not written */
  append(texts: readonly string[], batch: EncodedBatch, taken: readonly number[]): void {
    let start = 0;
    for (const [i, numTokens] of taken.entries()) {
      const length = batch.lengths[i];
      const tokens = batch.tokens.subarray(start, start + numTokens);
      // The bytes of a truncated document count in proportion to its tokens.
      const bytes = Buffer.byteLength(texts[i]);
      const textBytes = numTokens === length ? bytes : Math.round((bytes * numTokens) / length);
      start += length;
      this.#writer ??= ShardWriter.create(join(this.#folder, this.#fileName()), this.#bytesPerToken);
      this.#writer.append(tokens, textBytes);
      this.#numBytes += textBytes;
      if (this.#writer.numTokens >= this.#maxTokens) this.#closeShard();
    }
  }

  /** Syncs all documents to disk. */
  mark(): SinkMark {
    const open = this.#writer ? { ...this.#writer.mark(), numBytes: this.#numBytes } : null;
    return { shards: [...this.#shards], open };
  }

  /** Completes the last shard. */
  finish(): ShardRecord[] {
    if (this.#writer) this.#closeShard();
    this.tidy();
    return this.#shards;
  }

  /** Removes the indexes of finished shards once no saved mark refers to them. */
  tidy(): void {
    for (; this.#numTidied < this.#shards.length; this.#numTidied++) {
      const path = join(this.#folder, this.#shards[this.#numTidied].file);
      rmSync(indexPath(path), { force: true });
    }
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

/** Checks cheaply, by size and header, that a shard is the finished one. */
function requireHeader(path: string, sha256: string): void {
  const file = guard(path, () => openSync(path, 'r'));
  try {
    if (readShardHeader(file, path).sha256 !== sha256) {
      throw new DatasetError(`${path} is another shard, its checksum is wrong`);
    }
  } finally {
    closeSync(file);
  }
}
