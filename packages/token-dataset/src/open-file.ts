/** Opens a file: finds its format and decompresses it. */
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { DatasetError, reasonOf } from './errors.ts';
import type { SourceFile } from './files.ts';
import { detectFormat, type FileFormat, isBinary } from './formats.ts';
import type { FileAtHand } from './read-ahead.ts';
import { isZstd, unzstd } from './zstd.ts';

type OnBytes = (numBytes: number) => void;

const CHUNK_BYTES = 256 * 1024;
const GARBAGE = 'other data follows its last member';

/** The format of a file and its decompressed bytes; Parquet, which is read by position, has none. */
export interface OpenedFile {
  readonly format: FileFormat;
  /** A chunk is valid until the next one is requested. Must be read to its end, or returned. */
  readonly chunks: AsyncGenerator<Uint8Array>;
}

/**
 * Opens a file and recognizes its format.
 *
 * @param format overrides name and content, unless `auto`
 * @param texts whether plain text is accepted, or only records
 * @param onBytes called with the number of bytes consumed of the file on disk, for progress
 * @throws DatasetError for an unreadable file, damaged compression, and an unknown format
 */
export async function openFile(
  { file, content }: FileAtHand,
  format: FileFormat | 'auto',
  texts: boolean,
  onBytes: OnBytes,
): Promise<OpenedFile> {
  const { path, named } = file;
  refuseEmpty(file, format);
  const detected: { compression?: string } = {};
  const chunks = readChunks(file, content, onBytes, detected);
  if (format === 'parquet') return { format, chunks };
  const parts: Buffer[] = [];
  let length = 0;
  try {
    for (let wanted = 0; ; ) {
      const { value, done } = await chunks.next();
      if (value) parts.push(asBuffer(value));
      length += value?.length ?? 0;
      if (length >= wanted || done) {
        const head = parts.length === 1 ? parts[0] : Buffer.concat(parts);
        const found = detectFormat(head, done === true, { path, named, texts, format });
        if (found === 'parquet' && detected.compression) {
          throw new DatasetError(
            `${path}: is a Parquet file inside ${detected.compression}; decompress it first`,
          );
        }
        if (found) return { format: found, chunks: prepend(withoutMark(head), chunks) };
        // Detection restarts at the first byte, so it waits for twice as much.
        wanted = length * 2;
      }
      // The next request invalidates this chunk.
      if (value) parts.push(Buffer.from(parts.pop()!));
    }
  } catch (error) {
    await chunks.return(undefined);
    throw error;
  }
}

/** Files that have at least a header, by name; empty text is text without lines. */
const NEVER_EMPTY = /\.(parquet|gz|zst|arrow|feather|bz2|xz|lz4|zip|7z)$/i;

/** @throws DatasetError for a file without a byte whose format has some */
function refuseEmpty({ path, size }: SourceFile, format: FileFormat | 'auto'): void {
  if (size > 0 || !(format === 'parquet' || NEVER_EMPTY.test(path))) return;
  throw new DatasetError(
    `${path}: is empty, got 0 bytes, expected a whole file of its format; copy or download it again`,
  );
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
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

/** The decompressed bytes of a file in chunks; a chunk is valid until the next one is requested. */
async function* readChunks(
  { path, at = path, size }: SourceFile,
  content: Promise<Uint8Array> | undefined,
  onBytes: OnBytes,
  detected: { compression?: string },
): AsyncGenerator<Uint8Array> {
  const raw = content ? undefined : createReadStream(at, { highWaterMark: CHUNK_BYTES });
  let compression: 'gzip' | 'zstd' | undefined;
  try {
    const source = raw?.[Symbol.asyncIterator]() as AsyncIterator<Buffer> | undefined;
    const chunk = source ? ((await source.next()).value as Buffer | undefined) : await content;
    if (!chunk?.length) return;
    const first = asBuffer(chunk);
    compression = compressionOf(first, path);
    detected.compression = compression;
    const counted = count(first, source, onBytes);
    if (compression === 'gzip') {
      const chunkSize = Math.max(1024, Math.min(CHUNK_BYTES, 4 * size));
      // Iteration throws the error too; the callback keeps it from being reported twice.
      const gunzip = createGunzip({ chunkSize });
      yield* pipeline(counted, gunzip, () => {});
      if (gunzip.bytesWritten < size) await requirePadding(at, gunzip.bytesWritten);
    } else if (compression === 'zstd') {
      yield* unzstd(path, counted);
    } else {
      yield* counted;
    }
  } catch (error) {
    if (error instanceof DatasetError) throw error;
    const what = compression ? `is not whole ${compression} data` : 'cannot be read';
    // The header of the first member has been checked, so this is a later one.
    const reason = reasonOf(error).replace('incorrect header check', GARBAGE);
    throw new DatasetError(`${path} ${what}: ${reason}`);
  } finally {
    raw?.destroy();
  }
}

/** @throws Error for other bytes than zeros after gzip's last member: zlib ignores everything after a first zero */
async function requirePadding(path: string, start: number): Promise<void> {
  for await (const chunk of createReadStream(path, { start }) as AsyncIterable<Buffer>) {
    if (chunk.some((byte) => byte !== 0)) throw new Error(GARBAGE);
  }
}

/** Counts bytes when the next ones are requested, so that bytes read only for detection do not count. */
async function* count(first: Buffer, rest: AsyncIterator<Buffer> | undefined, onBytes: OnBytes) {
  for (let chunk: Buffer | undefined = first; chunk; chunk = (await rest?.next())?.value) {
    yield chunk;
    onBytes(chunk.length);
  }
}

/** The compression of a file by its first bytes. */
function compressionOf(head: Buffer, path: string): 'gzip' | 'zstd' | undefined {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
  if (isZstd(head)) return 'zstd';
  const named = /\.(gz|zst)$/i.exec(path)?.[1].toLowerCase();
  // Some download programs decompress files without renaming them.
  const isCut = head.length < 4 && (head[0] === 0x1f || head[0] === 0x28);
  if (!named || !(isCut || isBinary(head))) return undefined;
  const expected = named === 'gz' ? 'gzip' : 'zstd';
  throw new DatasetError(
    `${path} is not whole ${expected} data: its first bytes are not those of ${expected}`,
  );
}
