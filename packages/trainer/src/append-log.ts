import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { CheckpointError } from './errors.ts';

/**
 * A file that only ever grows by whole records, also when the disk is full.
 *
 * A record that cannot be written is kept in memory and written before the next one; nothing half-written stays.
 */
export class AppendLog {
  readonly path: string;
  readonly #onFailure: (message: string) => void;
  readonly #fd: number;
  #end: number;
  #pending: Buffer[] = [];
  #failing = false;

  constructor(path: string, onFailure: (message: string) => void) {
    this.path = path;
    this.#onFailure = onFailure;
    // Not 'a': the position is ours, so that a short write can be taken back.
    this.#fd = openSync(path, 'r+', 0o666);
    this.#end = fstatSync(this.#fd).size;
  }

  /** Adds a record; a failure is reported once, in one line, and tried again with the next record. */
  append(record: string | Uint8Array): void {
    this.#pending.push(Buffer.from(record as Uint8Array));
    try {
      this.#write();
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) {
        this.#onFailure(`${this.path}: ${(error as Error).message}; kept in memory until there is room`);
      }
      this.#failing = true;
    }
  }

  /** Gives everything appended so far to the system, or throws a CheckpointError: no checkpoint may be ahead of it. */
  flush(): void {
    try {
      this.#write();
    } catch (error) {
      throw new CheckpointError(`${this.path}: not written: ${(error as Error).message}`, { cause: error });
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  #write(): void {
    const bytes = Buffer.concat(this.#pending);
    let written = 0;
    try {
      while (written < bytes.length) {
        written += writeSync(this.#fd, bytes, written, bytes.length - written, this.#end + written);
      }
    } catch (error) {
      ftruncateSync(this.#fd, this.#end);
      throw error;
    }
    this.#end += bytes.length;
    this.#pending = [];
  }
}

/** Cuts a JSON-lines file before the first line that is torn or whose `step` lies beyond the given one. */
export function truncateJsonLines(path: string, step: number): void {
  const bytes = readFileSync(path);
  let end = 0;
  for (let newline = bytes.indexOf(10); newline >= 0; newline = bytes.indexOf(10, end)) {
    if (!isLineWithin(bytes.toString('utf8', end, newline), step)) break;
    end = newline + 1;
  }
  if (end < bytes.length) truncateSync(path, end);
}

function isLineWithin(line: string, step: number): boolean {
  try {
    const value: unknown = JSON.parse(line)?.step;
    return typeof value === 'number' && value <= step;
  } catch {
    return false;
  }
}
