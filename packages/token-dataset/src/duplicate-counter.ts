import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { AppendFile, type FileMark } from './append-file.ts';

/** Limit of remembered texts, of 16 bytes each; beyond it, only one text in 2, then in 4, and so on is remembered. */
const MAX_REMEMBERED = 2 ** 23;

/** Number of documents whose text occurred before. */
export interface DuplicateCount {
  readonly count: number;
  /** 1 for an exact count; n for an estimate from one text in n. */
  readonly oneIn: number;
}

/** State of a counter from which another process can continue. */
export interface DuplicateMark {
  readonly level: number;
  readonly repeats: readonly number[];
  readonly log: FileMark;
}

/**
 * Counts documents whose text occurred before, by 64 bits of its SHA-256, in bounded memory.
 *
 * Beyond its limit it remembers only texts whose hash starts with a zero bit, then with two, and so on. The sample
 * depends only on the texts, so its repeats scale to all of them. A file of the hashes lets a later process continue.
 */
export class DuplicateCounter {
  readonly #log: AppendFile;
  readonly #max: number;
  /** Pairs of 32-bit words, open addressing; the pair 0, 0 is a free slot. */
  #table = new Uint32Array(2 * 1024);
  #remembered = 0;
  /** Number of leading zero bits of the hashes that are remembered. */
  #level = 0;
  /** Repeats of texts by the number of leading zero bits of their hash. */
  #repeats: number[] = Array(33).fill(0);

  private constructor(log: AppendFile, max: number) {
    this.#log = log;
    this.#max = max;
  }

  static create(path: string, max = MAX_REMEMBERED): DuplicateCounter {
    return new DuplicateCounter(AppendFile.create(path), max);
  }

  /** @throws DatasetError if the file is damaged */
  static async reopen(path: string, mark: DuplicateMark, max = MAX_REMEMBERED): Promise<DuplicateCounter> {
    const counter = new DuplicateCounter(await AppendFile.reopen(path, mark.log), max);
    counter.#level = mark.level;
    counter.#repeats = [...mark.repeats];
    const bytes = readFileSync(path);
    for (let at = 0; at < bytes.length; at += 8) {
      const [high, low] = [bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4)];
      if (Math.clz32(high) >= mark.level) counter.#insert(high, low);
    }
    return counter;
  }

  add(text: string): void {
    const digest = hash('sha256', text, 'buffer');
    const high = digest.readUInt32LE(0);
    const low = digest.readUInt32LE(4) || 1;
    const zeros = Math.clz32(high);
    if (zeros < this.#level) return;
    if (!this.#insert(high, low)) {
      this.#repeats[zeros]++;
      return;
    }
    this.#log.write(Uint32Array.of(high, low));
    while (this.#remembered > this.#max && this.#level < 32) {
      this.#level++;
      this.#rebuild(this.#table.length);
    }
  }

  get result(): DuplicateCount {
    const oneIn = 2 ** this.#level;
    return { count: oneIn * this.#repeats.slice(this.#level).reduce((sum, one) => sum + one, 0), oneIn };
  }

  /** Syncs all hashes to disk. */
  mark(): DuplicateMark {
    return { level: this.#level, repeats: [...this.#repeats], log: this.#log.mark() };
  }

  close(): void {
    this.#log.close();
  }

  /** Inserts a hash; false if it was already there. */
  #insert(high: number, low: number): boolean {
    if (this.#remembered * 4 >= this.#table.length) this.#rebuild(this.#table.length * 2);
    const table = this.#table;
    const mask = table.length / 2 - 1;
    let slot = low & mask;
    while (table[2 * slot + 1] !== 0) {
      if (table[2 * slot] === high && table[2 * slot + 1] === low) return false;
      slot = (slot + 1) & mask;
    }
    table[2 * slot] = high;
    table[2 * slot + 1] = low;
    this.#remembered++;
    return true;
  }

  #rebuild(length: number): void {
    const old = this.#table;
    this.#table = new Uint32Array(length);
    this.#remembered = 0;
    for (let at = 0; at < old.length; at += 2) {
      if (old[at + 1] !== 0 && Math.clz32(old[at]) >= this.#level) this.#insert(old[at], old[at + 1]);
    }
  }
}
