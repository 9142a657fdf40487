import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { writeFileAtomic } from '@meap/files';
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

/**
 * Leaves the whole lines of a JSON-lines file up to the first whose `step` lies beyond the given one; returns what was
 * damaged and is gone, in words, undefined where nothing was.
 *
 * A crash or a power loss leaves a torn line or zeros at the end; a damaged disk may do so anywhere, and the lines behind
 * are kept. A last line that only lacks its end gets one.
 */
export function repairJsonLines(path: string, step: number): string | undefined {
  const bytes = readFileSync(path);
  const kept: Buffer[] = [];
  let [end, last, numDamaged, firstDamaged] = [0, 0, 0, 0];
  let isPrefix = true;
  for (let number = 1; end < bytes.length; number++) {
    const newline = bytes.indexOf(10, end);
    const line = bytes.subarray(end, newline < 0 ? bytes.length : newline);
    const at = stepOf(line);
    if (at !== undefined && at > step) break;
    if (at !== undefined) {
      kept.push(line, NEWLINE);
      last = Math.max(last, at);
      isPrefix &&= numDamaged === 0 && newline >= 0;
    } else if (numDamaged++ === 0) firstDamaged = number;
    end += line.length + 1;
  }
  const whole = Buffer.concat(kept);
  if (isPrefix) {
    if (whole.length < bytes.length) truncateSync(path, whole.length);
  } else {
    writeFileAtomic(path, whole);
  }
  if (numDamaged === 0) return undefined;
  const which =
    numDamaged === 1
      ? `line ${firstDamaged} was torn or damaged, and is removed`
      : `${numDamaged} lines from line ${firstDamaged} on were torn or damaged, and are removed`;
  return last < step ? `${which}; nothing is left of steps ${last + 1} to ${step}` : which;
}

const NEWLINE = Buffer.from('\n');

/** The step of a line; undefined for what is no line of a log. */
function stepOf(line: Uint8Array): number | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(line).toString('utf8'))?.step;
    return typeof value === 'number' ? value : undefined;
  } catch {
    return undefined;
  }
}
