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
 * A file of complete records, even when the disk is full: a record that cannot be written stays in memory and is written
 * before the next one.
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
    // Not 'a': writes at explicit positions can be rolled back.
    this.#fd = openSync(path, 'r+', 0o666);
    this.#end = fstatSync(this.#fd).size;
  }

  /** Appends a record. Reports the first of several failures; writes are retried with the next record. */
  append(record: string | Uint8Array): void {
    this.#pending.push(Buffer.from(record as Uint8Array));
    try {
      this.#write();
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) {
        this.#onFailure(`${this.path}: ${(error as Error).message}; kept in memory until the disk has space`);
      }
      this.#failing = true;
    }
  }

  /** Writes all appended records; throws CheckpointError on failure, because no checkpoint may be ahead of its logs. */
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
 * Removes damaged lines of a JSON-lines file, and all lines from the first whose `step` exceeds the given one. Returns a
 * description of the damage, or undefined if there was none.
 *
 * A crash or power failure leaves an incomplete line or zeros at the end; a damaged disk may do so anywhere. A complete
 * last line without a newline gets one.
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
      ? `line ${firstDamaged} was incomplete or damaged and is removed`
      : `${numDamaged} lines from line ${firstDamaged} were incomplete or damaged and are removed`;
  return last < step ? `${which}; steps ${last + 1} to ${step} are lost` : which;
}

const NEWLINE = Buffer.from('\n');

/** Returns the step of a line; undefined for a damaged line. */
function stepOf(line: Uint8Array): number | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(line).toString('utf8'))?.step;
    return typeof value === 'number' ? value : undefined;
  } catch {
    return undefined;
  }
}
