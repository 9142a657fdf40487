/** From a path to a format and decompressed bytes. */
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { Decompress } from 'fzstd';
import { DatasetError, reasonOf } from './errors.ts';
import type { SourceFile } from './files.ts';
import { detectFormat, type FileFormat, isBinary } from './formats.ts';

type OnBytes = (numBytes: number) => void;

/** A file whose format is known, and its decompressed bytes; of Parquet, which is read by position, none. */
export interface OpenedFile {
  readonly format: FileFormat;
  /** A chunk is valid until the next one is asked for. Must be read to its end, or returned. */
  readonly chunks: AsyncGenerator<Uint8Array>;
}

/**
 * Opens a file and finds out what it holds.
 *
 * @param format overrules names and content; `auto` goes by them
 * @param texts whether plain text will do, or only records
 * @param onBytes hears how many bytes of the file on disk have been taken, for progress
 * @throws DatasetError for a file that cannot be read, damaged compression, and content that is no known format
 */
export async function openFile(
  { path, named }: SourceFile,
  format: FileFormat | 'auto',
  texts: boolean,
  onBytes: OnBytes,
): Promise<OpenedFile> {
  const told: { compression?: string } = {};
  const chunks = readChunks(path, onBytes, told);
  if (format === 'parquet') return { format, chunks };
  const parts: Uint8Array[] = [];
  let numBytes = 0;
  let wanted = 0;
  try {
    for (;;) {
      const { value, done } = await chunks.next();
      if (value) {
        // A copy, because a chunk is valid until the next one is asked for.
        parts.push(Uint8Array.from(value));
        numBytes += value.length;
      }
      if (numBytes < wanted && !done) continue;
      const head = Buffer.concat(parts);
      const found = detectFormat(head, done === true, { path, named, texts, format });
      if (found === 'parquet' && told.compression) {
        throw new DatasetError(`${path}: is a Parquet file inside ${told.compression}; unpack it first`);
      }
      if (found) return { format: found, chunks: prepend(withoutMark(head), chunks) };
      // More is looked at from the start again, so it has to be twice as much.
      wanted = numBytes * 2;
    }
  } catch (error) {
    await chunks.return(undefined);
    throw error;
  }
}

/** Without a byte order mark. */
function withoutMark(bytes: Buffer): Buffer {
  return bytes.length >= 3 && bytes.readUIntBE(0, 3) === 0xefbbbf ? bytes.subarray(3) : bytes;
}

async function* prepend(head: Uint8Array, chunks: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield head;
    yield* chunks;
  } finally {
    await chunks.return(undefined);
  }
}

/** The decompressed bytes of a file in chunks; a chunk is valid until the next one is asked for. */
async function* readChunks(
  path: string,
  onBytes: OnBytes,
  told: { compression?: string },
): AsyncGenerator<Uint8Array> {
  const raw = createReadStream(path, { highWaterMark: 256 * 1024 });
  let compression: 'gzip' | 'zstd' | undefined;
  try {
    const source = raw[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    const first = (await source.next()).value as Buffer | undefined;
    if (!first) return;
    compression = compressionOf(first, path);
    told.compression = compression;
    const counted = count(first, source, onBytes);
    if (compression === 'gzip') {
      // The callback only keeps the error from being reported twice: iteration throws it too.
      yield* pipeline(counted, createGunzip({ chunkSize: 256 * 1024 }), () => {});
    } else if (compression === 'zstd') {
      yield* unzstd(counted);
    } else {
      yield* counted;
    }
  } catch (error) {
    if (error instanceof DatasetError) throw error;
    const what = compression ? `is not whole ${compression} data` : 'cannot be read';
    throw new DatasetError(`${path} ${what}: ${reasonOf(error)}`);
  } finally {
    raw.destroy();
  }
}

/** What a file is compressed with, by its first bytes. */
function compressionOf(head: Buffer, path: string): 'gzip' | 'zstd' | undefined {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
  const magic = head.length < 4 ? 0 : head.readUInt32LE(0);
  // The latter open frames of metadata.
  if (magic === 0xfd2fb528 || (magic & 0xfffffff0) >>> 0 === 0x184d2a50) return 'zstd';
  const named = /\.(gz|zst)$/i.exec(path)?.[1].toLowerCase();
  // Programs that fetch files unpack some on the way and leave their names.
  if (!named || !isBinary(head)) return undefined;
  const expected = named === 'gz' ? 'gzip' : 'zstd';
  throw new DatasetError(
    `${path} is not whole ${expected} data: its first bytes are not those of ${expected}`,
  );
}

/** Bytes count once the next ones are asked for, so that those merely looked at do not. */
async function* count(first: Buffer, rest: AsyncIterator<Buffer>, onBytes: OnBytes) {
  for (let chunk: Buffer | undefined = first; chunk; chunk = (await rest.next()).value) {
    yield chunk;
    onBytes(chunk.length);
  }
}

async function* unzstd(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let decoded: Uint8Array[] = [];
  const decompress = new Decompress((chunk) => decoded.push(chunk));
  for await (const chunk of source) {
    decompress.push(chunk);
    yield* decoded;
    decoded = [];
  }
  decompress.push(new Uint8Array(0), true);
  yield* decoded;
}
