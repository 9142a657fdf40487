import { mkdir, open, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HubError, reasonOf } from './errors.ts';

/** A lock that is not renewed for this long belongs to a process that has ended. */
const STALE_MS = 20_000;
const RENEW_MS = 5000;
const LOOK_MS = 250;

/**
 * Locks a folder against other processes that use this function, also on other machines; waits while one holds it.
 *
 * Not `proper-lockfile`: it listens to signals as soon as it loads, so a signal no longer ends a busy process. Where a
 * process is suspended for long and loses its lock, the hashes of the files still protect them.
 *
 * @param onWait called once if another process holds it
 * @returns a function that releases it
 * @throws HubError if the folder cannot be made or written to
 */
export async function lockFolder(
  folder: string,
  onWait: () => void,
  signal?: AbortSignal,
): Promise<() => Promise<void>> {
  const path = join(folder, '.meap.lock');
  const text = `${process.pid} ${Math.random()}\n`;
  for (let hasWaited = false; ; hasWaited = true) {
    signal?.throwIfAborted();
    if (await create(folder, path, text)) break;
    if (await isStale(path)) {
      // Of several processes one renames it.
      const aside = `${path}.${process.pid}`;
      if (
        await rename(path, aside).then(
          () => true,
          () => false,
        )
      ) {
        await rm(aside, { force: true });
      }
      continue;
    }
    if (!hasWaited) onWait();
    await sleep(LOOK_MS, undefined, { signal });
  }
  const timer = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => {});
  }, RENEW_MS);
  timer.unref();
  return async () => {
    clearInterval(timer);
    if ((await readFile(path, 'utf8').catch(() => '')) === text) await rm(path, { force: true });
  };
}

async function create(folder: string, path: string, text: string): Promise<boolean> {
  try {
    await mkdir(folder, { recursive: true });
    const file = await open(path, 'wx');
    try {
      await file.writeFile(text);
    } finally {
      await file.close();
    }
    return true;
  } catch (error) {
    if (
      (error as NodeJS.ErrnoException).code === 'EEXIST' &&
      (await stat(folder).catch(() => undefined))?.isDirectory()
    ) {
      return false;
    }
    throw new HubError(
      `the cache ${folder} cannot be made or written to: ${reasonOf(error)}; set HF_HOME to a folder that can`,
    );
  }
}

async function isStale(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found !== undefined && Date.now() - found.mtimeMs > STALE_MS;
}
