import { fs, paths } from './node.ts';

/**
 * Makes a directory and those above it, as far as they are not there; throws the system's error.
 *
 * One by one: Node 20's own way of it never returns where the system lets none be made, as below `/proc`.
 */
export function makeDirectory(path: string): void {
  const missing: string[] = [];
  for (let at = paths.resolve(path); !fs.existsSync(at) && paths.dirname(at) !== at; at = paths.dirname(at))
    missing.unshift(at);
  for (const directory of missing) {
    try {
      fs.mkdirSync(directory);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
  // Fails where a file has that name.
  fs.mkdirSync(path, { recursive: true });
}

/**
 * Waits until what was written through a handle is on the disk.
 *
 * By its descriptor: the handles of Yarn's Plug'n'Play have no `sync`.
 */
export async function syncHandle(handle: { readonly fd: number }): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    fs.fsync(handle.fd, (error) => (error ? reject(error) : resolve()));
  });
}

/** Waits until a directory's entries are on the disk; Windows has no such call and needs none. */
export async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await fs.promises.open(path, 'r');
  try {
    await syncHandle(handle);
  } finally {
    await handle.close();
  }
}
