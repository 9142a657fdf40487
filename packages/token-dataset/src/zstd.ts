/**
 * Zstandard (RFC 8878), one block at a time: frame headers are checked before memory is allocated, and at most one block
 * of 128 KiB is decompressed ahead of the reader. fzstd decodes the blocks.
 */
import { Decompress } from 'fzstd';
import { DatasetError } from './errors.ts';

const MAGIC = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;
const MAX_BLOCK_BYTES = 128 * 1024;
/** The default limit of the zstd program: `--long=27`. */
const MAX_WINDOW_BYTES = 2 ** 27;
/** A byte after the magic number, then up to one of window, four of dictionary, eight of size. */
const MAX_HEADER_BYTES = 14;
const TRAILING_DATA = 'other data follows its last frame';

/** Whether a file starts with a zstd frame, possibly of metadata. */
export function isZstd(head: Buffer): boolean {
  if (head.length < 4) return false;
  const magic = head.readUInt32LE(0);
  return magic === MAGIC || (magic & 0xfffffff0) >>> 0 === SKIPPABLE;
}

/**
 * The decompressed bytes of all frames of a stream. Checksums are ignored.
 *
 * @throws DatasetError for a window beyond 128 MiB or a dictionary; Error for damage
 */
export async function* unzstd(path: string, source: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  const input = new ByteReader(source);
  while (await input.has(4)) {
    const magic = input.peek(4).readUInt32LE(0);
    if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE) {
      input.take(4);
      await input.skip((await input.exactly(4)).readUInt32LE(0));
    } else if (magic === MAGIC) yield* readFrame(path, input);
    else throw new Error(TRAILING_DATA);
  }
  if (input.length > 0) throw new Error(TRAILING_DATA);
}

interface FrameHeader {
  readonly length: number;
  readonly window: number;
  /** Decompressed size of the frame, if the header has it. */
  readonly contentSize: number | undefined;
  readonly dictionary: number;
  readonly hasChecksum: boolean;
}

async function* readFrame(path: string, input: ByteReader): AsyncGenerator<Uint8Array> {
  await input.has(4 + MAX_HEADER_BYTES);
  const header = parseHeader(input.peek(Math.min(input.length, 4 + MAX_HEADER_BYTES)));
  if (header.dictionary !== 0) {
    throw new DatasetError(
      `${path}: is compressed with a dictionary (number ${header.dictionary}), expected zstd without one; ` +
        'recompress it',
    );
  }
  if (header.window > MAX_WINDOW_BYTES) {
    const long = Math.min(31, Math.ceil(Math.log2(header.window)));
    throw new DatasetError(
      `${path}: a zstd window of ${header.window} bytes, expected at most ${MAX_WINDOW_BYTES} (--long=27); ` +
        `recompress it, as with zstd -d --long=${long} < IN | zstd > OUT`,
    );
  }
  const blocks: Uint8Array[] = [];
  const decompress = new Decompress((block) => blocks.push(block));
  let written = 0;
  // Each push ends after the header of a block: fzstd retains the buffer of a push that ends with a block.
  let pushed = await input.exactly(header.length + 3);
  for (let isLast = false; !isLast; ) {
    decompress.push(pushed);
    const description = pushed.readUIntLE(pushed.length - 3, 3);
    isLast = (description & 1) === 1;
    const type = (description >> 1) & 3;
    const size = description >> 3;
    if (type === 3 || size > Math.min(MAX_BLOCK_BYTES, Math.max(header.window, 1024))) {
      throw new Error('damaged block');
    }
    const length = (type === 1 ? 1 : size) + (isLast ? (header.hasChecksum ? 4 : 0) : 3);
    // Awaiting for each block would cost as much as decoding some of them.
    if (input.length < length && !(await input.has(length))) throw new Error('unexpected end');
    pushed = input.take(length);
    if (isLast) decompress.push(pushed, true);
    for (const block of blocks.splice(0)) {
      written += block.length;
      yield block;
    }
  }
  if (header.contentSize !== undefined && header.contentSize !== written) {
    throw new Error(`a frame of ${written} bytes, its header says ${header.contentSize}`);
  }
}

function parseHeader(bytes: Buffer): FrameHeader {
  const flags = bytes.length > 4 ? bytes[4] : 8;
  // Bit 3 is reserved and zero in all versions.
  if (flags & 8) throw new Error('damaged frame header');
  const isSingleSegment = ((flags >> 5) & 1) === 1;
  const dictionaryBytes = [0, 1, 2, 4][flags & 3];
  const sizeFlag = flags >> 6;
  const sizeBytes = sizeFlag === 0 ? Number(isSingleSegment) : 2 ** sizeFlag;
  const length = 5 + Number(!isSingleSegment) + dictionaryBytes + sizeBytes;
  if (bytes.length < length) throw new Error('unexpected end');
  const integer = (at: number, numBytes: number) => {
    let value = 0;
    for (let i = numBytes - 1; i >= 0; i--) value = value * 256 + bytes[at + i];
    return value;
  };
  const contentSize =
    sizeBytes === 0 ? undefined : integer(length - sizeBytes, sizeBytes) + (sizeBytes === 2 ? 256 : 0);
  const base = 2 ** (10 + (bytes[5] >> 3));
  return {
    length,
    window: isSingleSegment ? contentSize! : base + (base / 8) * (bytes[5] & 7),
    contentSize,
    dictionary: integer(length - sizeBytes - dictionaryBytes, dictionaryBytes),
    hasChecksum: ((flags >> 2) & 1) === 1,
  };
}

/** Reads counted bytes from a stream. */
class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #held = Buffer.alloc(0);

  constructor(source: AsyncIterator<Uint8Array>) {
    this.#source = source;
  }

  /** Number of buffered bytes. */
  get length(): number {
    return this.#held.length;
  }

  /** Buffers `count` bytes; false if the stream ends before. */
  async has(count: number): Promise<boolean> {
    while (this.#held.length < count) {
      const { value, done } = await this.#source.next();
      if (done) return false;
      this.#held = this.#held.length === 0 ? Buffer.from(value) : Buffer.concat([this.#held, value]);
    }
    return true;
  }

  peek(count: number): Buffer {
    return this.#held.subarray(0, count);
  }

  take(count: number): Buffer {
    const taken = this.#held.subarray(0, count);
    this.#held = this.#held.subarray(count);
    return taken;
  }

  async exactly(count: number): Promise<Buffer> {
    if (!(await this.has(count))) throw new Error('unexpected end');
    return this.take(count);
  }

  async skip(count: number): Promise<void> {
    let left = count;
    while (left > 0) {
      if (!(await this.has(1))) throw new Error('unexpected end');
      left -= this.take(Math.min(left, this.#held.length)).length;
    }
  }
}
