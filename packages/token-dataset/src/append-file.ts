import { createHash, type Hash } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  writeSync,
} from 'node:fs';
import { DatasetError, reasonOf } from './errors.ts';

const bufferBytes = 1024 * 1024;

/** State of a growing file from which a later process can continue. */
export interface FileMark {
  /** Length of the contents in bytes. */
  readonly length: number;
  /** Checksum of the contents, in hexadecimal. */
  readonly sha256: string;
}

/** An append-only file with the checksum of its contents, which may start after a header. */
export class AppendFile {
  readonly path: string;
  readonly #start: number;
  readonly #file: number;
  readonly #hash: Hash;
  #length: number;
  #buffer: Buffer | undefined;
  #filled = 0;
  #isClosed = false;

  private constructor(path: string, start: number, file: number, hash: Hash, length: number) {
    this.path = path;
    this.#start = start;
    this.#file = file;
    this.#hash = hash;
    this.#length = length;
  }

  /** Creates a file, or truncates an existing one. */
  static create(path: string, start = 0): AppendFile {
    const file = guard(path, () => openSync(path, 'w'));
    return new AppendFile(path, start, file, createHash('sha256'), 0);
  }

  /**
   * Truncates a file to a mark and continues from there.
   *
   * @throws DatasetError if the bytes before the mark have changed
   */
  static async reopen(path: string, mark: FileMark, start = 0): Promise<AppendFile> {
    const hash = createHash('sha256');
    const file = guard(path, () => openSync(path, 'r+'));
    try {
      const length = Math.max(0, fstatSync(file).size - start);
      if (length < mark.length) {
        throw new DatasetError(`${path} is truncated, got ${length} bytes, expected ${mark.length}`);
      }
      if (mark.length > 0) {
        const range = { start, end: start + mark.length - 1, highWaterMark: bufferBytes };
        for await (const chunk of createReadStream(path, range)) hash.update(chunk);
      }
      if (hash.copy().digest('hex') !== mark.sha256) {
        throw new DatasetError(`${path} is damaged, its checksum is wrong`);
      }
      guard(path, () => ftruncateSync(file, start + mark.length));
      return new AppendFile(path, start, file, hash, mark.length);
    } catch (error) {
      closeSync(file);
      throw error;
    }
  }

  /** Appends bytes, which are buffered until {@link mark} at the latest. */
  write(values: Uint8Array | Uint16Array | Uint32Array): void {
    const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
    this.#buffer ??= Buffer.allocUnsafe(bufferBytes);
    for (let at = 0; at < bytes.length; ) {
      const copied = bytes.copy(this.#buffer, this.#filled, at);
      this.#filled += copied;
      at += copied;
      if (this.#filled === bufferBytes) this.#flush();
    }
  }

  /** Syncs all bytes to disk. */
  mark(): FileMark {
    this.#flush();
    guard(this.path, () => fsyncSync(this.#file));
    return { length: this.#length, sha256: this.#hash.copy().digest('hex') };
  }

  /** Writes the header and closes the file. */
  finish(header: (sha256: string) => Uint8Array): void {
    this.#flush();
    guard(this.path, () => {
      const bytes = header(this.#hash.copy().digest('hex'));
      writeSync(this.#file, bytes, 0, bytes.length, 0);
      fsyncSync(this.#file);
    });
    this.close();
  }

  /** Closes the file; bytes since the last mark may be lost. */
  close(): void {
    if (!this.#isClosed) closeSync(this.#file);
    this.#isClosed = true;
  }

  #flush(): void {
    const bytes = this.#buffer?.subarray(0, this.#filled) ?? new Uint8Array(0);
    if (bytes.length === 0) return;
    guard(this.path, () => {
      for (let at = 0; at < bytes.length; ) {
        at += writeSync(this.#file, bytes, at, bytes.length - at, this.#start + this.#length + at);
      }
    });
    this.#hash.update(bytes);
    this.#length += bytes.length;
    this.#filled = 0;
  }
}

/** Runs a write; its failure, usually a full disk, becomes a DatasetError. */
export function guard<T>(path: string, write: () => T): T {
  try {
    return write();
  } catch (error) {
    if (error instanceof DatasetError) throw error;
    const full = ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '');
    const reason = full
      ? 'the disk is full; free some space and run the same command again, which continues from here'
      : reasonOf(error);
    throw new DatasetError(`cannot write ${path}: ${reason}`);
  }
}
