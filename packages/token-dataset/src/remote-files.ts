/** Files that are elsewhere until their text is read, for corpora larger than the disk. */
import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { SourceFile } from './files.ts';
import { type FileAtHand, readAhead } from './read-ahead.ts';

/**
 * The files in order, each at hand until the next one is requested. While one is used the next remote one is fetched, so
 * that at most two are in the folder.
 */
export async function* filesAtHand(files: readonly SourceFile[], folder: string): AsyncGenerator<FileAtHand> {
  if (!files.some(({ remote }) => remote)) {
    yield* readAhead(files);
    return;
  }
  const stop = new AbortController();
  const fetch = ({ path, remote }: SourceFile) => {
    const local = remote ? remote.fetch(folder, stop.signal) : Promise.resolve(path);
    // A failure is handled when its file is used; until then it must not count as an unhandled rejection.
    local.catch(() => {});
    return local;
  };
  let next = fetch(files[0]);
  try {
    for (const [i, file] of files.entries()) {
      const at = await next;
      if (i + 1 < files.length) next = fetch(files[i + 1]);
      yield { file: { ...file, at }, content: undefined };
      if (file.remote && dirname(at) === folder) await rm(at, { force: true });
    }
  } finally {
    // After an error the next preparation continues with what was received.
    stop.abort();
    await next.catch(() => {});
  }
}
