import { syncDirectory } from './directory.ts';
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
