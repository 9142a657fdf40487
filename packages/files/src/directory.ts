import { fs, paths } from './node.ts';

/**
 * Creates a directory and its missing parents; throws the system's error.
 *
 * One level at a time: the recursive `mkdir` of Node 20 never returns where the system refuses, as below `/proc`.
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
  // Throws where a file has that name.
  fs.mkdirSync(path, { recursive: true });
}

/** Waits until everything written through a handle is on the disk. */
export async function syncHandle(handle: { readonly fd: number }): Promise<void> {
  // By descriptor: the handles of Yarn's Plug'n'Play have no `sync`.
  await new Promise<void>((resolve, reject) => {
    fs.fsync(handle.fd, (error) => (error ? reject(error) : resolve()));
  });
}

/** Blocks until a directory's entries are on the disk. Does nothing on Windows, which cannot open directories. */
export function syncDirectory(path: string): void {
  if (process.platform === 'win32') return;
  const descriptor = fs.openSync(path, 'r');
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}
