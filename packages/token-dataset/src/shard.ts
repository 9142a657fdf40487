/**
 * Format of a shard file, all numbers little-endian:
 *
 *   offset  0  magic 'MEAPTOKS'
 *           8  u32 version
 *          12  u32 bytes per token: 2 or 4
 *          16  u64 number of tokens
 *          24  u32 number of documents
 *          28  u32 highest token id
 *          32  SHA-256 of everything after the header
 *          64  tokens, padded with zeros to a multiple of 4 bytes
 *              per document: u32 index of its first token in this shard, u32 UTF-8 bytes of its text
 *
 * A document does not span shards. The header is written last, so an unfinished file has no magic.
 */
import { createHash } from 'node:crypto';
import { createReadStream, fstatSync, readFileSync, readSync } from 'node:fs';
import { AppendFile, type FileMark } from './append-file.ts';
import { DatasetError } from './errors.ts';

export const shardHeaderBytes = 64;
export const documentEntryBytes = 8;
const magic = 'MEAPTOKS';
const version = 1;
const bufferBytes = 1024 * 1024;

export type TokenArray = Uint16Array | Uint32Array;

export interface ShardHeader {
  readonly bytesPerToken: 2 | 4;
  readonly numTokens: number;
  readonly numDocuments: number;
  readonly maxTokenId: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

/** Offset of the document index in the file. */
export function indexOffset(header: Pick<ShardHeader, 'bytesPerToken' | 'numTokens'>): number {
  return shardHeaderBytes + Math.ceil((header.numTokens * header.bytesPerToken) / 4) * 4;
}

/** State of an unfinished shard from which another process can continue. */
export interface ShardMark {
  readonly tokens: FileMark;
  readonly index: FileMark;
  readonly numTokens: number;
  readonly maxTokenId: number;
}

/**
 * Writes one shard, which is invalid before `finish`.
 *
 * The document index at the end of a shard is a separate file until then.
 */
export class ShardWriter {
  readonly #bytesPerToken: 2 | 4;
  readonly #tokens: AppendFile;
  readonly #index: AppendFile;
  readonly #entries: number[];
  #maxTokenId = 0;
  #numTokens = 0;

  private constructor(bytesPerToken: 2 | 4, tokens: AppendFile, index: AppendFile, entries: number[]) {
    this.#bytesPerToken = bytesPerToken;
    this.#tokens = tokens;
    this.#index = index;
    this.#entries = entries;
  }

  static create(path: string, bytesPerToken: 2 | 4): ShardWriter {
    const tokens = AppendFile.create(path, shardHeaderBytes);
    return new ShardWriter(bytesPerToken, tokens, AppendFile.create(indexPath(path)), []);
  }

  /**
   * Continues a shard from a mark.
   *
   * @throws DatasetError if its files are damaged
   */
  static async reopen(path: string, bytesPerToken: 2 | 4, mark: ShardMark): Promise<ShardWriter> {
    const index = await AppendFile.reopen(indexPath(path), mark.index);
    const bytes = readFileSync(indexPath(path));
    const entries = Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readUInt32LE(i * 4));
    const tokens = await AppendFile.reopen(path, mark.tokens, shardHeaderBytes);
    const writer = new ShardWriter(bytesPerToken, tokens, index, entries);
    writer.#numTokens = mark.numTokens;
    writer.#maxTokenId = mark.maxTokenId;
    return writer;
  }

  get numTokens(): number {
    return this.#numTokens;
  }

  /** Adds a document; `tokens` has the shard's bytes per token. */
  append(tokens: TokenArray, textBytes: number): void {
    this.#entries.push(this.#numTokens, textBytes);
    this.#index.write(Uint32Array.of(this.#numTokens, textBytes));
    for (const id of tokens) if (id > this.#maxTokenId) this.#maxTokenId = id;
    this.#numTokens += tokens.length;
    this.#tokens.write(tokens);
  }

  /** Syncs all documents to disk. */
  mark(): ShardMark {
    const [tokens, index] = [this.#tokens.mark(), this.#index.mark()];
    return { tokens, index, numTokens: this.#numTokens, maxTokenId: this.#maxTokenId };
  }

  /** Completes the file and syncs it to disk. */
  finish(): ShardHeader {
    this.#tokens.write(new Uint8Array(-(this.#numTokens * this.#bytesPerToken) & 3));
    this.#tokens.write(Uint32Array.from(this.#entries));
    let header: ShardHeader | undefined;
    this.#tokens.finish((sha256) => {
      header = {
        bytesPerToken: this.#bytesPerToken,
        numTokens: this.#numTokens,
        numDocuments: this.#entries.length / 2,
        maxTokenId: this.#maxTokenId,
        sha256,
      };
      return encodeHeader(header);
    });
    this.close();
    return header!;
  }

  /** Closes the files; an unfinished shard stays invalid. */
  close(): void {
    this.#tokens.close();
    this.#index.close();
  }
}

/** Path of the index of an unfinished shard. */
export function indexPath(shard: string): string {
  return `${shard}.index`;
}

function encodeHeader(header: ShardHeader): Buffer {
  const bytes = Buffer.alloc(shardHeaderBytes);
  bytes.write(magic, 0, 'latin1');
  bytes.writeUInt32LE(version, 8);
  bytes.writeUInt32LE(header.bytesPerToken, 12);
  bytes.writeBigUInt64LE(BigInt(header.numTokens), 16);
  bytes.writeUInt32LE(header.numDocuments, 24);
  bytes.writeUInt32LE(header.maxTokenId, 28);
  bytes.write(header.sha256, 32, 'hex');
  return bytes;
}

/**
 * Reads and checks the header of an open shard against the size of the file.
 *
 * @throws DatasetError that names the file
 */
export function readShardHeader(file: number, path: string): ShardHeader {
  const damaged = (what: string) => new DatasetError(`${path}: ${what}; prepare the data again`);
  const bytes = Buffer.alloc(shardHeaderBytes);
  const { size } = fstatSync(file);
  if (readSync(file, bytes, 0, shardHeaderBytes, 0) < shardHeaderBytes) {
    throw damaged(`truncated shard, got ${size} bytes, expected a header of ${shardHeaderBytes}`);
  }
  if (bytes.toString('latin1', 0, 8) !== magic) throw damaged('not a finished shard, its magic is missing');
  const gotVersion = bytes.readUInt32LE(8);
  if (gotVersion !== version) throw damaged(`shard version ${gotVersion}, expected ${version}`);
  const bytesPerToken = bytes.readUInt32LE(12);
  if (bytesPerToken !== 2 && bytesPerToken !== 4) {
    throw damaged(`damaged header, got ${bytesPerToken} bytes per token, expected 2 or 4`);
  }
  const numTokens = Number(bytes.readBigUInt64LE(16));
  const numDocuments = bytes.readUInt32LE(24);
  const expected = indexOffset({ bytesPerToken, numTokens }) + numDocuments * documentEntryBytes;
  if (size !== expected) throw damaged(`damaged shard, got ${size} bytes, its header says ${expected}`);
  const maxTokenId = bytes.readUInt32LE(28);
  return { bytesPerToken, numTokens, numDocuments, maxTokenId, sha256: bytes.toString('hex', 32, 64) };
}

/** Whether the contents of an open shard match the checksum of its header. Reads the whole file. */
export function shardIsIntact(file: number, header: ShardHeader): boolean {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(bufferBytes);
  let position = shardHeaderBytes;
  for (let read = -1; read !== 0; position += read) {
    read = readSync(file, buffer, 0, bufferBytes, position);
    hash.update(buffer.subarray(0, read));
  }
  return hash.digest('hex') === header.sha256;
}

/** Reads a whole shard asynchronously and checks its checksum. */
export async function requireIntact(path: string, sha256: string, signal?: AbortSignal): Promise<void> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { start: shardHeaderBytes, highWaterMark: bufferBytes })) {
    signal?.throwIfAborted();
    hash.update(chunk);
  }
  if (hash.digest('hex') !== sha256) throw new DatasetError(`${path}: damaged shard, its checksum is wrong`);
}
