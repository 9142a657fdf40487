/** Follows a file of lines that may grow, be truncated, rewritten, removed or created at any time. */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/** The result of {@link LineTail.poll}. */
export interface TailChange {
  /** Whether all earlier lines are invalid: the file was truncated or replaced. */
  reset: boolean;
  lines: TailLine[];
  /** Whether more data can be read immediately. */
  more: boolean;
}

/** A complete line. */
export interface TailLine {
  text: string;
  /** Byte offset of the line. */
  start: number;
}

/** Bytes read by one poll; other runs are polled between the parts of a large file. */
const CHUNK_BYTES = 1 << 20;

/** Longer lines are skipped. */
const MAX_LINE_BYTES = 1 << 18;

/** Bytes before the read position that must be unchanged for reading to continue. */
const COMPARED_BYTES = 1 << 16;

/** Until a file is this old its modification time is not trusted: file system clocks are coarse. */
const SETTLED_MS = 2000;

/**
 * Returns each complete line once; an incomplete last line is returned when it ends.
 *
 * A run that resumes truncates its log and writes new lines, possibly all between two polls, so the size is not enough
 * to detect it: the last 64 KiB read are compared with the file. Step times differ in the last digit between runs, so
 * hundreds of lines never agree by accident.
 */
export class LineTail {
  readonly #path: string;
  /** The read position. */
  #end = 0;
  /** The last {@link COMPARED_BYTES} before `#end`. */
  #lastBytes = Buffer.alloc(0);
  /** The incomplete line before `#end`; empty if it exceeds the maximum length. */
  #partial: Buffer[] = [];
  #partialLength = 0;
  #state = '';

  constructor(path: string) {
    this.#path = path;
  }

  /** Reads new lines; a file that is missing or not a regular file has none. */
  async poll(): Promise<TailChange> {
    const file = await openPlain(this.#path);
    if (!file) return this.#start();
    try {
      const { size, mtimeMs, ctimeMs, ino } = await file.stat();
      const state = `${ino}:${size}:${mtimeMs}:${ctimeMs}`;
      if (state === this.#state && this.#end >= size) return { reset: false, lines: [], more: false };
      const isSame = size >= this.#end && (await this.#matches(file));
      const change = isSame ? { reset: false, lines: [], more: false } : this.#start();
      const chunk = await readAt(file, this.#end, Math.min(CHUNK_BYTES, size - this.#end));
      this.#take(chunk, change.lines);
      change.more = this.#end < size && chunk.length > 0;
      this.#state = Date.now() - mtimeMs > SETTLED_MS ? state : '';
      return change;
    } finally {
      await file.close();
    }
  }

  #start(): TailChange {
    const reset = this.#end > 0;
    this.#end = 0;
    this.#lastBytes = Buffer.alloc(0);
    this.#partial = [];
    this.#partialLength = 0;
    this.#state = '';
    return { reset, lines: [], more: false };
  }

  async #matches(file: FileHandle): Promise<boolean> {
    const length = this.#lastBytes.length;
    return (await readAt(file, this.#end - length, length)).equals(this.#lastBytes);
  }

  #take(chunk: Buffer, lines: TailLine[]): void {
    let from = 0;
    for (let newline = chunk.indexOf(10); newline >= 0; newline = chunk.indexOf(10, from)) {
      const length = this.#partialLength + newline - from;
      if (length <= MAX_LINE_BYTES) {
        const text = Buffer.concat([...this.#partial, chunk.subarray(from, newline)]).toString('utf8');
        lines.push({ text, start: this.#end + from - this.#partialLength });
      }
      this.#partial = [];
      this.#partialLength = 0;
      from = newline + 1;
    }
    const rest = chunk.subarray(from);
    this.#partialLength += rest.length;
    if (this.#partialLength > MAX_LINE_BYTES) this.#partial = [];
    else if (rest.length > 0) this.#partial.push(Buffer.from(rest));
    this.#end += chunk.length;
    this.#lastBytes = Buffer.from(Buffer.concat([this.#lastBytes, chunk]).subarray(-COMPARED_BYTES));
  }
}

/** Opens a regular file; undefined if it is missing, unreadable, a link, a pipe or a device. */
export async function openPlain(path: string): Promise<FileHandle | undefined> {
  // Does not follow links out of the folder and does not block on pipes.
  const { O_RDONLY, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants;
  const file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).catch(() => undefined);
  if (!file) return undefined;
  if ((await file.stat()).isFile()) return file;
  await file.close();
  return undefined;
}

/** Reads `length` bytes at `position`, fewer at the end of the file. */
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
