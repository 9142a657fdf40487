import { createHash, type Hash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HubError, reasonOf } from './errors.ts';
import type { HubFetch } from './hub-request.ts';

/** A file to download. */
export interface Download {
  url: string;
  /** The file in messages. */
  shown: string;
  size: number;
  /** SHA-256 of the content, or for small files the hash of git. */
  hash: { algorithm: 'sha256' | 'git'; value: string };
  /** Where the whole file will be; the part received so far is beside it. */
  path: string;
}

/** Connections in a row that may end before the file does, without a byte received. */
const MAX_CUTS = 5;

/**
 * Downloads a file. Continues after a part that is there, from an earlier process too, and after a lost connection.
 *
 * @param onBytes called with the number of bytes that are there in addition; negative if a part had to be discarded
 * @throws HubError if the content is not that of the hash, and is then deleted; if the disk is full, and the part is kept
 */
export async function download(
  { url, shown, size, hash, path }: Download,
  fetch: HubFetch,
  onBytes: (count: number) => void,
): Promise<void> {
  if (existsSync(path)) {
    onBytes(size);
    return;
  }
  // Python holds another kind of lock, so its partial file is left to it.
  const partial = `${path}.meap.incomplete`;
  try {
    await mkdir(dirname(path), { recursive: true });
    const received = await receive(url, shown, partial, size, hash, fetch, onBytes);
    if (received !== hash.value) {
      await rm(partial);
      throw new HubError(
        `${shown}: got a file with the hash ${received}, expected ${hash.value}; it was deleted, start again`,
      );
    }
    await rename(partial, path);
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || error instanceof HubError) throw error;
    const tip =
      error.code === 'ENOSPC'
        ? 'the disk is full; free some space, or set HF_HOME to another disk, and start again: it resumes'
        : reasonOf(error);
    throw new HubError(`${shown}: cannot be stored in ${dirname(path)}: ${tip}`);
  }
}

async function receive(
  url: string,
  shown: string,
  partial: string,
  size: number,
  hash: Download['hash'],
  fetch: HubFetch,
  onBytes: (count: number) => void,
): Promise<string> {
  let offset = (await stat(partial).catch(() => undefined))?.size ?? 0;
  if (offset > size) offset = 0;
  const file = await open(partial, offset > 0 ? 'r+' : 'w');
  try {
    await file.truncate(offset);
    let sum = newHash(hash, size);
    if (offset > 0)
      for await (const chunk of createReadStream(partial, { end: offset - 1 })) sum.update(chunk);
    onBytes(offset);
    for (let cuts = 0; offset < size || size === 0; ) {
      const range = offset > 0 ? { range: `bytes=${offset}-` } : undefined;
      // A compressed answer has other bytes.
      const response = await fetch(url, { headers: { 'accept-encoding': 'identity', ...range } });
      if (range && response.status !== 206) {
        // The server sends the file from its start.
        onBytes(-offset);
        offset = 0;
        sum = newHash(hash, size);
        await file.truncate(0);
      }
      const before = offset;
      let reason = 'the connection ended early';
      try {
        for await (const chunk of response.body ?? []) {
          if (offset + chunk.length > size)
            throw new HubError(`${shown}: got more than the ${size} bytes expected`);
          await file.write(chunk, 0, chunk.length, offset);
          sum.update(chunk);
          offset += chunk.length;
          onBytes(chunk.length);
        }
      } catch (error) {
        // The file system's errors have a system call; those of a connection are tried again.
        if (error instanceof HubError || (error as NodeJS.ErrnoException).syscall === 'write') throw error;
        if ((error as Error).name === 'AbortError') throw error;
        reason = reasonOf(error);
      }
      if (offset === size) break;
      cuts = offset > before ? 0 : cuts + 1;
      if (cuts > MAX_CUTS) {
        throw new HubError(`${shown}: got ${offset} of ${size} bytes: ${reason}; start again: it resumes`);
      }
    }
    await file.datasync();
    return sum.digest('hex');
  } finally {
    await file.close();
  }
}

function newHash({ algorithm }: Download['hash'], size: number): Hash {
  // Git hashes a header with the content.
  return algorithm === 'sha256' ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
}
