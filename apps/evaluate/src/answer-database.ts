/** Answers in a SQLite file, each with a checksum; a file that is damaged is set aside, and what is whole in it kept. */
import { createHash } from 'node:crypto';
import { existsSync, renameSync, rmSync } from 'node:fs';
import type { Answer } from '@meap/evals';
import { reasonOf } from '@meap/recipe-cli';
import sqlite from 'node-sqlite3-wasm';

/** Grows when answers are kept in another form. */
const FORMAT = 2;

const SCHEMA =
  'CREATE TABLE answers (key BLOB PRIMARY KEY, answer TEXT NOT NULL, sum BLOB NOT NULL) WITHOUT ROWID';

/** A file of a format that this program does not read. */
class FormatError extends Error {}

/** What was found wrong with a file, as against the disk being full or not to be written. */
class DamageError extends Error {}

/** Answers by key, in one file that nobody else has open. */
export class AnswerDatabase {
  readonly #path: string;
  readonly #onWarning: (message: string) => void;
  #database: sqlite.Database;
  #select!: sqlite.Statement;
  #insert!: sqlite.Statement;

  /** Opens a file, made where absent. Throws for one that is of a later format or cannot be read or written. */
  constructor(path: string, onWarning: (message: string) => void) {
    this.#path = path;
    this.#onWarning = onWarning;
    // A process that was killed in a transaction leaves SQLite's lock; that it is gone is known by now. The journal
    // beside it lets SQLite undo what was half done.
    rmSync(`${path}.lock`, { recursive: true, force: true });
    try {
      this.#database = open(path);
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#database = this.#rebuild(error);
    }
    this.#prepare();
  }

  /** The answers to keys, undefined where there is none that is whole. */
  get(keys: readonly string[]): (Answer | undefined)[] {
    return this.#repairing(() => keys.map((key) => readAnswer(this.#select.get([hash(key)]))));
  }

  /** Keeps answers, all or none. */
  put(entries: readonly { readonly key: string; readonly answer: Answer }[]): void {
    this.#repairing(() => {
      insertAll(
        this.#database,
        this.#insert,
        entries.map(({ key, answer }) => [hash(key), JSON.stringify(answer)]),
      );
    });
  }

  close(): void {
    this.#select.finalize();
    this.#insert.finalize();
    this.#database.close();
  }

  #prepare(): void {
    this.#select = this.#database.prepare('SELECT key, answer, sum FROM answers WHERE key = ?');
    this.#insert = this.#database.prepare(INSERT);
  }

  /** Does it, where the file turns out to be damaged once more with what is left of it. */
  #repairing<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (!isDamage(error)) throw error;
      try {
        this.close();
      } catch {
        // A damaged database may not even close.
      }
      this.#database = this.#rebuild(error);
      this.#prepare();
      return work();
    }
  }

  #rebuild(damage: unknown): sqlite.Database {
    const path = this.#path;
    let number = 1;
    while (existsSync(`${path}.damaged-${number}`)) number++;
    const aside = `${path}.damaged-${number}`;
    for (const suffix of ['', '-journal', '-wal']) {
      if (existsSync(path + suffix)) renameSync(path + suffix, aside + suffix);
    }
    rmSync(`${path}.lock`, { recursive: true, force: true });
    const whole = wholeRows(aside);
    const database = open(path);
    const insert = database.prepare(INSERT);
    insertAll(database, insert, whole);
    insert.finalize();
    this.#onWarning(
      `${path}: damaged: ${reasonOf(damage)}; set aside as ${aside}, ${whole.length} whole answers kept, the others ` +
        'are asked again',
    );
    return database;
  }
}

const INSERT = 'INSERT OR REPLACE INTO answers VALUES (?, ?, ?)';

type Row = readonly [key: Uint8Array, answer: string];

/** @param salvages whether to read what can be read of a file whose structure is damaged */
function open(path: string, salvages = false): sqlite.Database {
  const database = new sqlite.Database(path);
  try {
    // Nobody else has it, so nothing needs to be read again for each statement.
    database.exec('PRAGMA locking_mode = EXCLUSIVE');
    const { user_version: found } = database.get('PRAGMA user_version') as { user_version: number };
    const schema = database.all('SELECT sql FROM sqlite_master');
    if (found === 0 && schema.length === 0) {
      database.exec(`${SCHEMA}; PRAGMA user_version = ${FORMAT}`);
    } else if (found > FORMAT) {
      throw new FormatError(`written in format ${found}, expected ${FORMAT}`);
    } else if (found !== FORMAT) {
      throw new DamageError(`written in format ${found}, expected ${FORMAT}`);
    } else if (schema.length !== 1 || schema[0].sql !== SCHEMA) {
      // A view or a trigger would compute whatever its author likes.
      throw new DamageError('its tables are not those of a store of answers');
    }
    // What is put behind a damaged page may not be found again. Reads the whole file once, at the rate of the disk.
    if (!salvages) {
      const { quick_check: verdict } = database.get('PRAGMA quick_check(1)') as { quick_check: string };
      if (verdict !== 'ok') throw new DamageError(verdict.split('\n').join(' '));
    }
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function insertAll(database: sqlite.Database, insert: sqlite.Statement, rows: readonly Row[]): void {
  database.exec('BEGIN IMMEDIATE');
  try {
    for (const [key, answer] of rows) insert.run([key, answer, checksum(key, answer)]);
    database.exec('COMMIT');
  } catch (error) {
    if (database.inTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

/** The rows of a damaged file that are whole, up to where it can be read. */
function wholeRows(path: string): Row[] {
  const rows: Row[] = [];
  let database: sqlite.Database | undefined;
  try {
    database = open(path, true);
    for (const row of database.prepare('SELECT key, answer, sum FROM answers').iterate()) {
      try {
        if (readAnswer(row)) rows.push([row.key as Uint8Array, row.answer as string]);
      } catch {
        // One row that is not whole; others may be.
      }
    }
  } catch {
    // What comes behind the damage cannot be found.
  }
  try {
    database?.close();
  } catch {}
  rmSync(`${path}.lock`, { recursive: true, force: true });
  return rows;
}

function readAnswer(row: sqlite.QueryResult | null): Answer | undefined {
  if (!row) return undefined;
  const { key, answer, sum } = row as Record<string, unknown>;
  const isWhole =
    key instanceof Uint8Array &&
    typeof answer === 'string' &&
    sum instanceof Uint8Array &&
    Buffer.compare(sum, checksum(key, answer)) === 0;
  if (!isWhole) throw new DamageError('an answer does not have its checksum');
  return JSON.parse(answer);
}

function checksum(key: Uint8Array, answer: string): Uint8Array {
  return createHash('sha256').update(key).update(answer).digest();
}

function hash(key: string): Uint8Array {
  return createHash('sha256').update(key).digest();
}

/** Whether it is the file that is wrong, and not the disk, the rights or the format. */
function isDamage(error: unknown): boolean {
  if (error instanceof FormatError) return false;
  // SQLite's words for SQLITE_FULL, READONLY, CANTOPEN, IOERR, BUSY and NOMEM.
  const others = /is full|readonly|read-only|unable to open|I\/O error|is locked|out of memory$/i;
  return !('syscall' in (error as object)) && !others.test(reasonOf(error));
}
