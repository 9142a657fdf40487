/** Follows a file that grows by lines, and may be cut back, rewritten, removed and made again at any time. */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/** What {@link LineTail.poll} found. */
export interface TailChange {
  /** Whether all lines handed out before are void: the file is another, or was cut back. */
  reset: boolean;
  lines: TailLine[];
  /** Whether there is more to read at once. */
  more: boolean;
}

/** A whole line and where it stands. */
export interface TailLine {
  text: string;
  /** Offset of its first byte. */
  start: number;
}

/** Bytes read by one poll at most: a large file is read in several, and others have their turn in between. */
const CHUNK = 1 << 20;

/** Longest line that is kept; longer ones are passed over. */
const LONGEST_LINE = 1 << 18;

/** How much of what was read last is compared before more is read after it. */
const WITNESS = 1 << 16;

/** Clocks of file systems are coarse, and those of servers not ours. */
const SETTLED_MS = 2000;

/**
 * Hands out each whole line once; a torn last line waits for its end.
 *
 * A run that resumes cuts its log back and writes other lines in their place, perhaps all between two polls, so that
 * size alone tells nothing: the last bytes read are compared with what stands there now. Two states of a file that
 * agree in 64 KiB up to the same place are taken for one; no two runs of the same steps took the same time to the last
 * digit in hundreds of lines.
 */
export class LineTail {
  readonly #path: string;
  /** Bytes before this are handed out or passed over, but for `#torn`. */
  #end = 0;
  /** The last bytes before `#end`. */
  #witness = Buffer.alloc(0);
  /** A line begun before `#end`; empty also while one that is too long is passed over. */
  #torn: Buffer[] = [];
  #tornLength = 0;
  #state = '';

  constructor(path: string) {
    this.#path = path;
  }

  /** Reads what is new; a file that is absent or is no plain file has no lines. */
  async poll(): Promise<TailChange> {
    const file = await openPlain(this.#path);
    if (!file) return this.#start();
    try {
      const { size, mtimeMs, ctimeMs, ino } = await file.stat();
      const state = `${ino}:${size}:${mtimeMs}:${ctimeMs}`;
      if (state === this.#state && this.#end >= size) return { reset: false, lines: [], more: false };
      const isSame = size >= this.#end && (await this.#matches(file));
      const change = isSame ? { reset: false, lines: [], more: false } : this.#start();
      const chunk = await readAt(file, this.#end, Math.min(CHUNK, size - this.#end));
      this.#take(chunk, change.lines);
      change.more = this.#end < size && chunk.length > 0;
      // A file changed a moment ago may change again without its time showing it.
      this.#state = Date.now() - mtimeMs > SETTLED_MS ? state : '';
      return change;
    } finally {
      await file.close();
    }
  }

  #start(): TailChange {
    const reset = this.#end > 0;
    this.#end = 0;
    this.#witness = Buffer.alloc(0);
    this.#torn = [];
    this.#tornLength = 0;
    this.#state = '';
    return { reset, lines: [], more: false };
  }

  async #matches(file: FileHandle): Promise<boolean> {
    const length = this.#witness.length;
    return (await readAt(file, this.#end - length, length)).equals(this.#witness);
  }

  #take(chunk: Buffer, lines: TailLine[]): void {
    let from = 0;
    for (let newline = chunk.indexOf(10); newline >= 0; newline = chunk.indexOf(10, from)) {
      const length = this.#tornLength + newline - from;
      if (length <= LONGEST_LINE) {
        const text = Buffer.concat([...this.#torn, chunk.subarray(from, newline)]).toString('utf8');
        lines.push({ text, start: this.#end + from - this.#tornLength });
      }
      this.#torn = [];
      this.#tornLength = 0;
      from = newline + 1;
    }
    const rest = chunk.subarray(from);
    this.#tornLength += rest.length;
    if (this.#tornLength > LONGEST_LINE) this.#torn = [];
    else if (rest.length > 0) this.#torn.push(Buffer.from(rest));
    this.#end += chunk.length;
    this.#witness = Buffer.from(Buffer.concat([this.#witness, chunk]).subarray(-WITNESS));
  }
}

/** Opens a plain file to read; undefined for what is absent, unreadable, a link, a pipe or a device. */
export async function openPlain(path: string): Promise<FileHandle | undefined> {
  // Not to follow a link out of the folder, nor to wait for the writer of a pipe.
  const { O_RDONLY, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants;
  const file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).catch(() => undefined);
  if (!file) return undefined;
  if ((await file.stat()).isFile()) return file;
  await file.close();
  return undefined;
}

/** The bytes from `position` on, fewer than `length` at the end of the file. */
export async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}
