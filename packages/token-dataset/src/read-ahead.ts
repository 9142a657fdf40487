import { readFile, readFileSync } from 'node:fs';
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

/** A disk that takes longer for a small file, in milliseconds, is asked for several at once. */
const PROMPT_MS = 0.3;
/** Files that are read concurrently before it is tried again whether the disk answers at once. */
const RETRY_AFTER = 64;

let untilRetry = 0;

/**
 * The content of a small file; undefined for others. A disk that answers at once, such as memory that holds the file, is
 * read at once, which takes a quarter of the processor time that an operation in the background takes.
 */
export function contentOfSmall({ path, size }: SourceFile): Promise<Uint8Array> | undefined {
  if (size > SMALL_BYTES) return undefined;
  const content = untilRetry === 0 ? readAtOnce(path) : readInBackground(path);
  // A failure is handled when its file is used; until then it must not count as an unhandled rejection.
  content.catch(() => {});
  return content;
}

async function readAtOnce(path: string): Promise<Uint8Array> {
  const start = performance.now();
  try {
    return readFileSync(path);
  } finally {
    if (performance.now() - start > PROMPT_MS) untilRetry = RETRY_AFTER;
  }
}

function readInBackground(path: string): Promise<Uint8Array> {
  untilRetry--;
  // The callback version takes half the time of `fs.promises`.
  return new Promise((done, fail) => {
    readFile(path, (error, bytes) => (error ? fail(error) : done(bytes)));
  });
}
