import type { FileHandle } from 'node:fs/promises';
import { syncDirectory, syncHandle } from './directory.ts';
import { fs, paths } from './node.ts';

/** Options of {@link writeFileAtomic}. */
export interface WriteFileOptions {
  /** Whether the file has to survive a power failure: it and its directory are then synced. Default: false. */
  durable?: boolean;
  /** Path of the temporary file, on the same file system; by default a unique one beside the file. */
  temporary?: string;
}

/**
 * Writes a file in one step: readers see the previous content or the new content, never a part of it.
 *
 * Writes a temporary file and renames it. Throws the system's error, and then leaves the previous content.
 */
export function writeFileAtomic(
  path: string,
  content: string | Uint8Array,
  { durable = false, temporary = `${path}.${crypto.randomUUID()}.tmp` }: WriteFileOptions = {},
): void {
  try {
    fs.writeFileSync(temporary, content, { flush: durable });
    fs.renameSync(temporary, path);
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw error;
  }
  if (durable) syncDirectory(paths.dirname(path));
}

/** Most bytes of one write: Linux writes less than 2 GiB at once. */
const MAX_WRITE_BYTES = 2 ** 30;

/**
 * Writes a large file from chunks in one step, like {@link writeFileAtomic}, and durably: it and its directory are synced.
 *
 * Throws the error of the system or of the chunks, and then leaves the previous content.
 */
export async function writeStreamAtomic(path: string, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  const temporary = `${path}.${crypto.randomUUID()}.tmp`;
  let handle: FileHandle | undefined;
  try {
    handle = await fs.promises.open(temporary, 'wx');
    for await (const chunk of chunks) {
      let done = 0;
      while (done < chunk.byteLength) {
        const count = Math.min(chunk.byteLength - done, MAX_WRITE_BYTES);
        done += (await handle.write(chunk, done, count)).bytesWritten;
      }
    }
    await syncHandle(handle);
    await handle.close();
    fs.renameSync(temporary, path);
  } catch (error) {
    await handle?.close().catch(() => {});
    fs.rmSync(temporary, { force: true });
    throw error;
  }
  syncDirectory(paths.dirname(path));
}
