import type { FileHandle } from 'node:fs/promises';
import { syncHandle } from '@meap/files';
import { attempt } from './error.ts';
import { fs, paths } from './node.ts';

const MAX_WRITE_BYTES = 2 ** 30;

/**
 * A file written under a temporary name in its folder and renamed when complete.
 *
 * The owner must call `publish` or `discard`.
 */
export class PendingFile {
  readonly path: string;
  #name: string;
  readonly #handle: FileHandle;

  private constructor(path: string, temporary: string, handle: FileHandle) {
    this.path = path;
    this.#name = temporary;
    this.#handle = handle;
  }

  /** Creates the temporary file. */
  static async create(path: string): Promise<PendingFile> {
    const temporary = paths.join(paths.dirname(path), `.${paths.basename(path)}.${crypto.randomUUID()}.tmp`);
    const handle = await attempt('create', path, () => fs.promises.open(temporary, 'wx'));
    return new PendingFile(path, temporary, handle);
  }

  /** Appends bytes. */
  async write(bytes: Uint8Array): Promise<void> {
    await attempt('write', this.path, async () => {
      let done = 0;
      while (done < bytes.byteLength) {
        const count = Math.min(bytes.byteLength - done, MAX_WRITE_BYTES);
        done += (await this.#handle.write(bytes, done, count)).bytesWritten;
      }
    });
  }

  /** Syncs and closes the file. */
  async finish(): Promise<void> {
    await attempt('write', this.path, async () => {
      await syncHandle(this.#handle);
      await this.#handle.close();
    });
  }

  /** Renames a finished file; replaces an existing one. */
  async publish(): Promise<void> {
    await attempt('write', this.path, () => fs.promises.rename(this.#name, this.path));
    this.#name = this.path;
  }

  /** Removes the file, published or not. Never throws, so that the original error is reported. */
  async discard(): Promise<void> {
    await this.#handle.close().catch(() => {});
    await fs.promises.rm(this.#name, { force: true }).catch(() => {});
  }
}
