import { readFile } from 'node:fs';
import type { SourceFile } from './files.ts';

/** Files read concurrently, which hides the latency of a disk or a network. */
export const AHEAD = 16;

/** The next file, with its content if that has been read ahead. */
export interface FileAtHand {
  readonly file: SourceFile;
  readonly content: Promise<Uint8Array> | undefined;
}

/** The files in order; small ones are read while earlier ones are being used. */
export function* readAhead(files: readonly SourceFile[]): Generator<FileAtHand> {
  const ahead: FileAtHand[] = [];
  let next = 0;
  for (;;) {
    while (next < files.length && ahead.length < AHEAD) {
      const file = files[next++];
      ahead.push({ file, content: contentOfSmall(file) });
    }
    const first = ahead.shift();
    if (!first) return;
    yield first;
  }
}

/** Up to this size a file is read whole, which is cheaper than a stream. */
const SMALL_BYTES = 64 * 1024;

/** The content of a small file; undefined for others. */
export function contentOfSmall({ path, size }: SourceFile): Promise<Uint8Array> | undefined {
  if (size > SMALL_BYTES) return undefined;
  // The callback version takes half the time of `fs.promises`.
  const content = new Promise<Buffer>((done, fail) => {
    readFile(path, (error, bytes) => (error ? fail(error) : done(bytes)));
  });
  // A failure is handled when its file is used; until then it must not count as an unhandled rejection.
  content.catch(() => {});
  return content;
}
