/** Stores answers with checksums in a SQLite file; recovers intact answers from a damaged file. */
import { createHash } from 'node:crypto';
import { existsSync, renameSync, rmSync } from 'node:fs';
import { reasonOf } from '@meap/recipe-cli';
import sqlite from 'node-sqlite3-wasm';

/** Incremented when the format changes. */
const FORMAT = 2;

const SCHEMA =
  'CREATE TABLE answers (key BLOB PRIMARY KEY, answer TEXT NOT NULL, sum BLOB NOT NULL) WITHOUT ROWID';

/** A file in a newer format. */
class FormatError extends Error {}

/** A damaged file, as opposed to errors of the disk. */
class DamageError extends Error {}

/** Answers by key, in a file that only this process has open. */
export class AnswerDatabase<Value> {
  readonly #path: string;
  readonly #onWarning: (message: string) => void;
  #database: sqlite.Database;
  #select!: sqlite.Statement;
  #insert!: sqlite.Statement;

  /**
   * Opens or creates a file. Throws if it has a newer format or cannot be read or written.
   *
   * @param options `isChecked`: whether this process has already checked the whole file
   */
  constructor(
    path: string,
    { onWarning, isChecked }: { onWarning: (message: string) => void; isChecked: boolean },
  ) {
    this.#path = path;
    this.#onWarning = onWarning;
    // A killed process leaves SQLite's lock; the caller's lock ensures that no other uses the file. SQLite rolls back its
    // journal.
    rmSync(`${path}.lock`, { recursive: true, force: true });
    try {
      this.#database = open(path, isChecked);
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#database = this.#rebuild(error);
    }
    this.#prepare();
  }

  /** Returns the answers to keys; undefined if there is no intact one. */
  get(keys: readonly string[]): (Value | undefined)[] {
    return this.#repairing(() =>
      keys.map((key) => readAnswer(this.#select.get([hash(key)])) as Value | undefined),
    );
  }

  /** Stores answers in one transaction. */
  put(entries: readonly { readonly key: string; readonly answer: Value }[]): void {
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

  /** Runs `work`; if the file turns out to be damaged, rebuilds it and tries again. */
  #repairing<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (!isDamage(error)) throw error;
      try {
        this.close();
      } catch {
        // Closing a damaged database may fail.
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
    const intact = intactRows(aside);
    const database = open(path);
    const insert = database.prepare(INSERT);
    insertAll(database, insert, intact);
    insert.finalize();
    this.#onWarning(
      `${path}: damaged: ${reasonOf(damage)}; moved to ${aside}, ${intact.length} intact answers kept, the others ` +
        'are recomputed',
    );
    return database;
  }
}

const INSERT = 'INSERT OR REPLACE INTO answers VALUES (?, ?, ?)';

type Row = readonly [key: Uint8Array, answer: string];

/** @param isUnchecked whether to skip the integrity check */
function open(path: string, isUnchecked = false): sqlite.Database {
  const database = new sqlite.Database(path);
  try {
    // Avoids reading the file header for each statement.
    database.exec('PRAGMA locking_mode = EXCLUSIVE');
    const { user_version: found } = database.get('PRAGMA user_version') as { user_version: number };
    const schema = database.all('SELECT sql FROM sqlite_master');
    if (found === 0 && schema.length === 0) {
      database.exec(`${SCHEMA}; PRAGMA user_version = ${FORMAT}`);
    } else if (found !== FORMAT) {
      const Type = found > FORMAT ? FormatError : DamageError;
      throw new Type(`got format ${found}, expected ${FORMAT}`);
    } else if (schema.length !== 1 || schema[0].sql !== SCHEMA) {
      // Views or triggers could return anything.
      throw new DamageError('unexpected tables');
    }
    // Rows inserted into damaged pages may be lost. Reads the whole file once.
    if (!isUnchecked) {
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

/** Returns the intact rows of a damaged file, up to the first unreadable page. */
function intactRows(path: string): Row[] {
  const rows: Row[] = [];
  let database: sqlite.Database | undefined;
  try {
    database = open(path, true);
    for (const row of database.prepare('SELECT key, answer, sum FROM answers').iterate()) {
      try {
        if (readAnswer(row)) rows.push([row.key as Uint8Array, row.answer as string]);
      } catch {
        // Skips a damaged row.
      }
    }
  } catch {
    // The rest cannot be read.
  }
  try {
    database?.close();
  } catch {}
  rmSync(`${path}.lock`, { recursive: true, force: true });
  return rows;
}

function readAnswer(row: sqlite.QueryResult | null): unknown {
  if (!row) return undefined;
  const { key, answer, sum } = row as Record<string, unknown>;
  const isIntact =
    key instanceof Uint8Array &&
    typeof answer === 'string' &&
    sum instanceof Uint8Array &&
    Buffer.compare(sum, checksum(key, answer)) === 0;
  if (!isIntact) throw new DamageError('an answer has a wrong checksum');
  return JSON.parse(answer);
}

function checksum(key: Uint8Array, answer: string): Uint8Array {
  return createHash('sha256').update(key).update(answer).digest();
}

function hash(key: string): Uint8Array {
  return createHash('sha256').update(key).digest();
}

/** Whether an error means that the file is damaged, not an error of the disk, permissions or format. */
function isDamage(error: unknown): boolean {
  if (error instanceof FormatError) return false;
  // SQLite's messages for SQLITE_FULL, READONLY, CANTOPEN, IOERR, BUSY and NOMEM.
  const others = /is full|readonly|read-only|unable to open|I\/O error|is locked|out of memory$/i;
  return !('syscall' in (error as object)) && !others.test(reasonOf(error));
}
