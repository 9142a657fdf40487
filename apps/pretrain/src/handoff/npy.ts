/** NumPy's `.npy` format, which `numpy.load(path, mmap_mode='r')` maps into memory. */
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { basename } from 'node:path';
import { syncHandle } from '@meap/files';
import { RunError, reasonOf } from '@meap/recipe-cli';

/** Little-endian NumPy dtypes: uint16, int32, float64. */
export type NpyDtype = '<u2' | '<i4' | '<f8';

const ARRAYS = { '<u2': Uint16Array, '<i4': Int32Array, '<f8': Float64Array } as const;

/** Returns the bytes per element. */
export function npyBytes(dtype: NpyDtype): number {
  return ARRAYS[dtype].BYTES_PER_ELEMENT;
}

/** A written file and its checksum. */
export interface WrittenFile {
  /** Name within the hand-off. */
  file: string;
  sha256: string;
}

/**
 * Streams an array into a file. Callers must `close` it, which also syncs it to disk, or `abandon` it.
 *
 * @throws RunError if the file cannot be written, such as on a full disk
 */
export class NpyWriter {
  readonly path: string;
  readonly #dtype: NpyDtype;
  readonly #handle: FileHandle;
  readonly #hash = createHash('sha256');
  #missing: number;

  private constructor(path: string, dtype: NpyDtype, count: number, handle: FileHandle) {
    this.path = path;
    this.#dtype = dtype;
    this.#handle = handle;
    this.#missing = count;
  }

  /** Creates the file and writes its header with the final `shape`. */
  static async create(path: string, dtype: NpyDtype, shape: readonly number[]): Promise<NpyWriter> {
    const count = shape.reduce((product, size) => product * size, 1);
    const handle = await attempt(path, () => open(path, 'wx'));
    const writer = new NpyWriter(path, dtype, count, handle);
    await writer.#append(npyHeader(dtype, shape));
    return writer;
  }

  /** Appends values, which must fit the dtype. */
  async write(values: ArrayLike<number>): Promise<void> {
    this.#missing -= values.length;
    const { buffer } = ARRAYS[this.#dtype].from(values);
    await this.#append(new Uint8Array(buffer));
  }

  /** Closes the file. Throws RangeError if values of its shape are missing. */
  async close(): Promise<WrittenFile> {
    if (this.#missing !== 0) {
      await this.abandon();
      throw new RangeError(`${this.path}: ${this.#missing} values are missing`);
    }
    await attempt(this.path, async () => {
      await syncHandle(this.#handle);
      await this.#handle.close();
    });
    return { file: basename(this.path), sha256: this.#hash.digest('hex') };
  }

  /** Closes an unfinished file; never fails. */
  async abandon(): Promise<void> {
    await this.#handle.close().catch(() => {});
  }

  async #append(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    await attempt(this.path, async () => {
      for (let done = 0; done < bytes.length; ) {
        done += (await this.#handle.write(bytes, done, bytes.length - done)).bytesWritten;
      }
    });
  }
}

/** Header of format 1.0: magic, version, length, Python dictionary, padded to a multiple of 64 bytes. */
function npyHeader(dtype: NpyDtype, shape: readonly number[]): Uint8Array {
  const tuple = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const text = `{'descr': '${dtype}', 'fortran_order': False, 'shape': (${tuple}), }`;
  const prefix = 10;
  const padded = Math.ceil((prefix + text.length + 1) / 64) * 64;
  const header = Buffer.from(`\x93NUMPY\x01\x00\0\0${text.padEnd(padded - prefix - 1)}\n`, 'latin1');
  header.writeUInt16LE(padded - prefix, 8);
  return header;
}

async function attempt<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw new RunError(`${path}: cannot be written: ${reasonOf(error)}`, { cause: error });
  }
}
