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
  const maxTokenId = Math.max(...manifest.shards.map((shard) => shard.maxTokenId));
  const shards: OpenShard[] = [];
  try {
    let firstToken = 0;
    let firstDocument = 0;
    for (const record of manifest.shards) {
      const shard = openShard(directory, manifest, record, firstToken, firstDocument);
      shards.push(shard);
      if (options.verify && !shardIsIntact(shard.handle, shard))
        throw damaged(shard, 'its checksum is wrong');
      firstToken += record.numTokens;
      firstDocument += record.numDocuments;
    }
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
  return shardedDataset(directory, manifest, shards, maxTokenId);
}

interface OpenShard extends ShardRecord {
  readonly path: string;
  readonly handle: number;
  readonly bytesPerToken: 2 | 4;
  /** Position of its first token in the stream, and index of its first document. */
  readonly firstToken: number;
  readonly firstDocument: number;
  /** Returns bytes in a buffer that the next read overwrites. */
  read(position: number, length: number): Buffer;
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
    return { ...expected, path, handle, firstToken, firstDocument, read: shardReader(path, handle) };
  } catch (error) {
    closeSync(handle);
    throw error;
  }
}

/** Entries of the document index read at a time. */
const indexRun = 1024;

function shardedDataset(
  directory: string,
  manifest: Manifest,
  shards: readonly OpenShard[],
  maxTokenId: number,
): TokenDataset {
  const total = (key: 'numTokens' | 'numDocuments' | 'numBytes') =>
    shards.reduce((sum, shard) => sum + shard[key], 0);
  const numTokens = total('numTokens');
  const numDocuments = total('numDocuments');
  const requireRange = (what: string, start: number, length: number, end: number) => {
    const whole = Number.isInteger(start) && Number.isInteger(length);
    if (!whole || start < 0 || length < 0 || start + length > end) {
      throw new RangeError(`${what} ${start} to ${start + length} of ${end} in ${directory}`);
    }
  };

  function readTokens(start: number, length: number): Int32Array {
    requireRange('tokens', start, length, numTokens);
    const tokens = new Int32Array(length);
    for (const { shard, from, count, at } of partsOf(shards, start, length)) {
      const { bytesPerToken } = shard;
      const bytes = shard.read(shardHeaderBytes + from * bytesPerToken, count * bytesPerToken);
      for (let i = 0; i < count; i++) {
        const id = bytesPerToken === 2 ? bytes.readUInt16LE(i * 2) : bytes.readUInt32LE(i * 4);
        // An id out of bounds would read past an embedding table.
        if (id > shard.maxTokenId) {
          throw damaged(shard, `got token id ${id}, its highest is ${shard.maxTokenId}`);
        }
        tokens[at + i] = id;
      }
    }
    return tokens;
  }

  return {
    directory,
    fingerprint: manifest.fingerprint,
    numTokens,
    numDocuments,
    numBytes: total('numBytes'),
    vocabSize: manifest.vocabSize,
    maxTokenId,
    readTokens,
    readDocument(index) {
      requireRange('documents', index, 1, numDocuments);
      const shard = shards.findLast(({ firstDocument }) => firstDocument <= index)!;
      const { start, end } = documentsFrom(shard, index - shard.firstDocument).next().value!;
      return readTokens(shard.firstToken + start, end - start);
    },
    bytesOfTokens(start, length) {
      requireRange('tokens', start, length, numTokens);
      let numBytes = 0;
      for (const { shard, from, count } of partsOf(shards, start, length)) {
        numBytes += bytesInShard(shard, from, from + count);
      }
      return numBytes;
    },
    close() {
      for (const { handle } of shards) closeSync(handle);
    },
  };
}

/** The parts of a range of the stream in each shard; `at` counts from the start of the range. */
function* partsOf(shards: readonly OpenShard[], start: number, length: number) {
  let index = shards.findLastIndex(({ firstToken }) => firstToken <= start);
  for (let at = 0; at < length; index++) {
    const shard = shards[index];
    const from = start + at - shard.firstToken;
    const count = Math.min(length - at, shard.numTokens - from);
    yield { shard, from, count, at };
    at += count;
  }
}

function bytesInShard(shard: OpenShard, from: number, to: number): number {
  if (from === 0 && to === shard.numTokens) return shard.numBytes;
  let numBytes = 0;
  for (const { start, end, textBytes } of documentsFrom(shard, documentAt(shard, from))) {
    if (start >= to) break;
    const inside = Math.min(end, to) - Math.max(start, from);
    if (inside > 0) numBytes += (textBytes * inside) / (end - start);
  }
  return numBytes;
}

/** The documents of a shard from the given one; nothing else may be read between two steps of the iteration. */
function* documentsFrom(shard: OpenShard, document: number) {
  for (let first = document; first < shard.numDocuments; first += indexRun) {
    // One extra entry gives the end of the last document.
    const known = Math.min(indexRun + 1, shard.numDocuments - first);
    const entries = shard.read(indexOffset(shard) + first * documentEntryBytes, known * documentEntryBytes);
    for (let i = 0; i < Math.min(indexRun, known); i++) {
      const at = i * documentEntryBytes;
      const start = entries.readUInt32LE(at);
      const end = i + 1 < known ? entries.readUInt32LE(at + documentEntryBytes) : shard.numTokens;
      if (start > end || end > shard.numTokens) {
        throw damaged(shard, `document ${first + i} spans ${start} to ${end}`);
      }
      yield { start, end, textBytes: entries.readUInt32LE(at + 4) };
    }
  }
}

/** The document that contains a token of a shard, by binary search on disk. */
function documentAt(shard: OpenShard, token: number): number {
  let low = 0;
  let high = shard.numDocuments - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    const position = indexOffset(shard) + middle * documentEntryBytes;
    if (shard.read(position, 4).readUInt32LE(0) <= token) low = middle;
    else high = middle - 1;
  }
  return low;
}

function shardReader(path: string, handle: number): OpenShard['read'] {
  let scratch = Buffer.alloc(0);
  return (position, length) => {
    if (scratch.length < length) scratch = Buffer.alloc(length);
    for (let done = 0; done < length; ) {
      const read = readSync(handle, scratch, done, length - done, position + done);
      if (read === 0) throw damaged({ path }, 'it became shorter while in use');
      done += read;
    }
    return scratch.subarray(0, length);
  };
}

function damaged({ path }: { readonly path: string }, problem: string): DatasetError {
  return new DatasetError(`${path}: damaged shard, ${problem}; prepare the data again`);
}
