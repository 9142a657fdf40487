import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory, syncHandle } from '@meap/files';

/** Returns the sorted paths of all files below a directory, relative to it, with `/`. */
export async function listFiles(directory: string, prefix = ''): Promise<string[]> {
  const paths: string[] = [];
  for (const entry of await readdir(join(directory, prefix), { withFileTypes: true })) {
    const path = `${prefix}${entry.name}`;
    if (entry.isDirectory()) paths.push(...(await listFiles(directory, `${path}/`)));
    else paths.push(path);
  }
  return paths.sort();
}

/** Returns the SHA-256 of a file in hexadecimal. */
export async function fileSha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest('hex');
}

/** Waits until a file's bytes are on the disk. */
export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r+');
  try {
    await syncHandle(handle);
  } finally {
    await handle.close();
  }
}

/** Syncs a directory with all files and directories below it. */
export async function syncTree(directory: string): Promise<void> {
  const directories = new Set<string>(['']);
  for (const path of await listFiles(directory)) {
    await syncFile(join(directory, path));
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      directories.add(path.slice(0, end));
    }
  }
  // Longest first: a directory is synced after its subdirectories.
  for (const path of [...directories].sort((a, b) => b.length - a.length)) {
    syncDirectory(join(directory, path));
  }
}
