import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { DatasetError, reasonOf } from './errors.ts';
import { type Manifest, readManifest, type ShardRecord } from './manifest.ts';
import {
  documentEntryBytes,
  indexOffset,
  readShardHeader,
  shardHeaderBytes,
  shardIsIntact,
} from './shard.ts';

/** Options of {@link openTokenDataset}. */
export interface OpenTokenDatasetOptions {
  /** Number of embedding rows; a dataset with a higher id is refused. */
  vocabSize?: number;
  /** Whether to check the checksum of every shard, which reads the whole dataset. Default false. */
  verify?: boolean;
}

/** A prepared dataset: one stream of tokens, read from disk by position. */
export interface TokenDataset {
  readonly directory: string;
  /** SHA-256 of everything the stream depends on. */
  readonly fingerprint: string;
  readonly numTokens: number;
  readonly numDocuments: number;
  /** UTF-8 bytes of the text, without BOS and EOS. */
  readonly numBytes: number;
  /** Highest id of the tokenizer plus one. */
  readonly vocabSize: number;
  /** Highest id in the data. */
  readonly maxTokenId: number;
  /** Tokens `start` to `start + length - 1` of the stream. */
  readTokens(start: number, length: number): Int32Array;
  /** Tokens of a document, by its number in the order of preparation. */
  readDocument(index: number): Int32Array;
  /** UTF-8 bytes of the text of a range of tokens; a partial document counts in proportion to its tokens. */
  bytesOfTokens(start: number, length: number): number;
  /** Closes the files. */
  close(): void;
}

/**
 * Opens a folder written by `prepareTokens` and checks headers and sizes of all shards.
 *
 * Nothing is loaded: every read goes to the file, and the page cache makes it fast (Node has no memory mapping).
 *
 * @throws DatasetError for a damaged shard or a vocabulary that is too small
 */
export function openTokenDataset(directory: string, options: OpenTokenDatasetOptions = {}): TokenDataset {
  const manifest = readManifest(directory);
  const shards: OpenShard[] = [];
  try {
    let firstToken = 0;
    let firstDocument = 0;
    for (const record of manifest.shards) {
      shards.push(openShard(directory, manifest, record, firstToken, firstDocument));
      if (options.verify) verify(shards.at(-1)!);
      firstToken += record.numTokens;
      firstDocument += record.numDocuments;
    }
    const maxTokenId = Math.max(...shards.map((shard) => shard.maxTokenId));
    const vocabSize = options.vocabSize ?? manifest.vocabSize;
    if (maxTokenId >= vocabSize) {
      throw new DatasetError(
        `${directory}: vocabulary too small, got ${vocabSize} entries, the data has token id ${maxTokenId}; use the tokenizer of the data`,
      );
    }
  } catch (error) {
    for (const shard of shards) closeSync(shard.handle);
    throw error;
  }
  return new ShardedDataset(directory, manifest, shards);
}

interface OpenShard extends ShardRecord {
  readonly path: string;
  readonly handle: number;
  readonly bytesPerToken: 2 | 4;
  /** Position of its first token in the stream, and index of its first document. */
  readonly firstToken: number;
  readonly firstDocument: number;
}

function openShard(
  directory: string,
  manifest: Manifest,
  record: ShardRecord,
  firstToken: number,
  firstDocument: number,
): OpenShard {
  const path = join(directory, record.file);
  let handle: number;
  try {
    handle = openSync(path, 'r');
  } catch (error) {
    throw new DatasetError(`${path}: cannot open shard (${reasonOf(error)}); prepare the data again`);
  }
  try {
    const header = readShardHeader(handle, path);
    const expected = { ...record, bytesPerToken: manifest.bytesPerToken };
    for (const key of ['bytesPerToken', 'numTokens', 'numDocuments', 'maxTokenId', 'sha256'] as const) {
      if (header[key] !== expected[key]) {
        throw new DatasetError(
          `${path}: damaged header, got ${key} ${header[key]}, the manifest says ${expected[key]}; prepare the data again`,
        );
      }
    }
    return { ...expected, path, handle, firstToken, firstDocument };
  } catch (error) {
    closeSync(handle);
    throw error;
  }
}

function verify(shard: OpenShard): void {
  if (!shardIsIntact(shard.handle, shard)) {
    throw new DatasetError(`${shard.path}: damaged shard, its checksum is wrong; prepare the data again`);
  }
}

/** Entries of the document index read at a time. */
const indexRun = 1024;

class ShardedDataset implements TokenDataset {
  readonly directory: string;
  readonly fingerprint: string;
  readonly numTokens: number;
  readonly numDocuments: number;
  readonly numBytes: number;
  readonly vocabSize: number;
  readonly maxTokenId: number;
  readonly #shards: readonly OpenShard[];
  #scratch = Buffer.alloc(0);

  constructor(directory: string, manifest: Manifest, shards: readonly OpenShard[]) {
    const sum = (key: 'numTokens' | 'numDocuments' | 'numBytes') =>
      shards.reduce((total, shard) => total + shard[key], 0);
    this.directory = directory;
    this.fingerprint = manifest.fingerprint;
    this.numTokens = sum('numTokens');
    this.numDocuments = sum('numDocuments');
    this.numBytes = sum('numBytes');
    this.vocabSize = manifest.vocabSize;
    this.maxTokenId = Math.max(...shards.map((shard) => shard.maxTokenId));
    this.#shards = shards;
  }

  readTokens(start: number, length: number): Int32Array {
    this.#checkRange('tokens', start, length, this.numTokens);
    const tokens = new Int32Array(length);
    for (const { shard, from, count, at } of this.#parts(start, length)) {
      const { bytesPerToken, maxTokenId } = shard;
      const bytes = this.#read(shard, shardHeaderBytes + from * bytesPerToken, count * bytesPerToken);
      for (let i = 0; i < count; i++) {
        const id = bytesPerToken === 2 ? bytes.readUInt16LE(i * 2) : bytes.readUInt32LE(i * 4);
        // An id out of bounds would read past an embedding table.
        if (id > maxTokenId) {
          throw new DatasetError(
            `${shard.path}: damaged shard, got token id ${id}, its highest is ${maxTokenId}; prepare the data again`,
          );
        }
        tokens[at + i] = id;
      }
    }
    return tokens;
  }

  readDocument(index: number): Int32Array {
    this.#checkRange('documents', index, 1, this.numDocuments);
    const shard = this.#shards.findLast(({ firstDocument }) => firstDocument <= index)!;
    const local = index - shard.firstDocument;
    const { start, end } = this.#documentsFrom(shard, local).next().value!;
    return this.readTokens(shard.firstToken + start, end - start);
  }

  bytesOfTokens(start: number, length: number): number {
    this.#checkRange('tokens', start, length, this.numTokens);
    let numBytes = 0;
    for (const { shard, from, count } of this.#parts(start, length)) {
      numBytes += this.#bytesInShard(shard, from, from + count);
    }
    return numBytes;
  }

  close(): void {
    for (const { handle } of this.#shards) closeSync(handle);
  }

  #bytesInShard(shard: OpenShard, from: number, to: number): number {
    if (from === 0 && to === shard.numTokens) return shard.numBytes;
    let numBytes = 0;
    for (const { start, end, textBytes } of this.#documentsFrom(shard, this.#documentAt(shard, from))) {
      if (start >= to) break;
      const inside = Math.min(end, to) - Math.max(start, from);
      if (inside > 0) numBytes += (textBytes * inside) / (end - start);
    }
    return numBytes;
  }

  /** The documents of a shard from the given one; nothing else may be read between two steps of the iteration. */
  *#documentsFrom(shard: OpenShard, document: number) {
    for (let first = document; first < shard.numDocuments; first += indexRun) {
      // One extra entry gives the end of the last document.
      const known = Math.min(indexRun + 1, shard.numDocuments - first);
      const position = indexOffset(shard) + first * documentEntryBytes;
      const entries = this.#read(shard, position, known * documentEntryBytes);
      for (let i = 0; i < Math.min(indexRun, known); i++) {
        const at = i * documentEntryBytes;
        const start = entries.readUInt32LE(at);
        const end = i + 1 < known ? entries.readUInt32LE(at + documentEntryBytes) : shard.numTokens;
        if (start > end || end > shard.numTokens) {
          throw new DatasetError(
            `${shard.path}: damaged shard, document ${first + i} spans ${start} to ${end}; prepare the data again`,
          );
        }
        yield { start, end, textBytes: entries.readUInt32LE(at + 4) };
      }
    }
  }

  /** The document that contains a token of a shard, by binary search on disk. */
  #documentAt(shard: OpenShard, token: number): number {
    let low = 0;
    let high = shard.numDocuments - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      const position = indexOffset(shard) + middle * documentEntryBytes;
      if (this.#read(shard, position, 4).readUInt32LE(0) <= token) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Reads bytes of a shard into a buffer that the next read overwrites. */
  #read(shard: OpenShard, position: number, length: number): Buffer {
    if (this.#scratch.length < length) this.#scratch = Buffer.alloc(length);
    for (let done = 0; done < length; ) {
      const read = readSync(shard.handle, this.#scratch, done, length - done, position + done);
      if (read === 0) throw new DatasetError(`${shard.path}: damaged shard, it became shorter while in use`);
      done += read;
    }
    return this.#scratch.subarray(0, length);
  }

  /** The parts of a range of the stream in each shard; `at` counts from the start of the range. */
  *#parts(start: number, length: number) {
    let at = 0;
    let index = this.#shards.findLastIndex(({ firstToken }) => firstToken <= start);
    for (; at < length; index++) {
      const shard = this.#shards[index];
      const from = start + at - shard.firstToken;
      const count = Math.min(length - at, shard.numTokens - from);
      yield { shard, from, count, at };
      at += count;
    }
  }

  #checkRange(what: string, start: number, length: number, total: number): void {
    const whole = Number.isInteger(start) && Number.isInteger(length);
    if (!whole || start < 0 || length < 0 || start + length > total) {
      throw new RangeError(`${what} ${start} to ${start + length} of ${total} in ${this.directory}`);
    }
  }
}
