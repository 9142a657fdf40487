import { readFile } from 'node:fs';
import type { SourceFile } from './files.ts';

/** So many files are being read at once, which hides the time that a disk or a network takes for each. */
export const AHEAD = 16;

/** A file whose turn it is, and its content where that has been read ahead. */
export interface FileAtHand {
  readonly file: SourceFile;
  readonly content: Promise<Uint8Array> | undefined;
}

/** The files in their order, the contents of small ones read side by side while earlier ones are used. */
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

/** Up to this size a file is read whole: a stream of it would cost more than its content. */
const SMALL_BYTES = 64 * 1024;

/** The content of a file that is small, and nothing of others. */
export function contentOfSmall({ path, size }: SourceFile): Promise<Uint8Array> | undefined {
  if (size > SMALL_BYTES) return undefined;
  // With a callback it takes half the time of `fs.promises`.
  const content = new Promise<Buffer>((done, fail) => {
    readFile(path, (error, bytes) => (error ? fail(error) : done(bytes)));
  });
  // A failure is met when the turn of its file comes; until then it must not count as unheard.
  content.catch(() => {});
  return content;
}
