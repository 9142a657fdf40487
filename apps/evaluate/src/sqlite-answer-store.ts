import { createHash } from 'node:crypto';
import { existsSync, rmdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Answer, AnswerStore } from '@meap/evals';
import { RunError, reasonOf } from '@meap/recipe-cli';
import { acquireLock, RunLockedError } from '@meap/trainer';
import sqlite from 'node-sqlite3-wasm';

/** An {@link AnswerStore} in a file, held by one process at a time. */
export interface SqliteAnswerStore extends AnswerStore {
  /** Lets another process have the file. */
  close(): void;
}

/** Grows when answers are kept in another form. */
const FORMAT = 1;

/** Where answers are kept unless told otherwise: `$XDG_CACHE_HOME/meap` or `~/.cache/meap`. */
export function defaultCacheDirectory(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'meap');
}

/** Stores of a folder by name, each opened when it is first used. */
export class AnswerStores {
  readonly #directory: string;
  readonly #open = new Map<string, SqliteAnswerStore>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** The store of a model's fingerprint, or of a judge; see {@link openAnswerStore}. */
  of(name: string): AnswerStore {
    const opened = (): SqliteAnswerStore => {
      const store = this.#open.get(name) ?? openAnswerStore(this.#directory, name);
      this.#open.set(name, store);
      return store;
    };
    return { get: async (keys) => opened().get(keys), put: async (entries) => opened().put(entries) };
  }

  close(): void {
    for (const store of this.#open.values()) store.close();
  }
}

/**
 * Opens the answers of one model, in `FOLDER/answers/FINGERPRINT/answers.sqlite`; made where absent.
 *
 * A call of `put` is one transaction, on the disk when it returns: whatever happens to the process, a later one finds
 * all answers of a call or none.
 *
 * @throws RunError where another process has them open, where the folder cannot be written or the file is damaged
 */
export function openAnswerStore(directory: string, fingerprint: string): SqliteAnswerStore {
  const folder = join(directory, 'answers', fingerprint.slice(0, 32));
  const path = join(folder, 'answers.sqlite');
  const release = lock(folder);
  try {
    const database = openDatabase(path);
    const select = database.prepare('SELECT answer FROM answers WHERE key = ?');
    const insert = database.prepare('INSERT OR REPLACE INTO answers VALUES (?, ?)');
    return {
      get: async (keys) => keys.map((key) => parseAnswer(select.get([hash(key)]))),
      put: async (entries) => {
        database.exec('BEGIN IMMEDIATE');
        try {
          for (const { key, answer } of entries) insert.run([hash(key), JSON.stringify(answer)]);
          database.exec('COMMIT');
        } catch (error) {
          if (database.inTransaction) database.exec('ROLLBACK');
          throw new RunError(
            `${path}: an answer cannot be kept: ${reasonOf(error)}; make room, or --resume never`,
          );
        }
      },
      close: () => {
        select.finalize();
        insert.finalize();
        database.close();
        release();
      },
    };
  } catch (error) {
    release();
    throw error;
  }
}

function openDatabase(path: string): sqlite.Database {
  // A process that was killed in a transaction leaves SQLite's lock; that it is gone is known by now. The journal
  // beside it lets SQLite undo what was half done.
  if (existsSync(`${path}.lock`)) rmdirSync(`${path}.lock`);
  let database: sqlite.Database | undefined;
  try {
    database = new sqlite.Database(path);
    // Nobody else has it, so nothing needs to be read again for each statement.
    database.exec('PRAGMA locking_mode = EXCLUSIVE');
    const { user_version: found } = database.get('PRAGMA user_version') as { user_version: number };
    if (found === 0) {
      database.exec(
        `CREATE TABLE answers (key BLOB PRIMARY KEY, answer TEXT NOT NULL) WITHOUT ROWID; PRAGMA user_version = ${FORMAT}`,
      );
    } else if (found !== FORMAT) {
      throw new Error(`written in format ${found}, expected ${FORMAT}`);
    }
    return database;
  } catch (error) {
    database?.close();
    throw new RunError(`${path}: cannot be used: ${reasonOf(error)}; delete it, or --resume never`);
  }
}

function lock(folder: string): () => void {
  try {
    return acquireLock(folder);
  } catch (error) {
    if (error instanceof RunLockedError) {
      throw new RunError(
        `--cache: ${folder} is in use by another evaluation of this model, expected one at a time; wait for it, ` +
          'or give another --cache, or --resume never',
      );
    }
    const reason = reasonOf((error as Error).cause ?? error);
    throw new RunError(
      `--cache: ${folder} cannot be written: ${reason}; give another --cache, or --resume never`,
    );
  }
}

function hash(key: string): Uint8Array {
  return createHash('sha256').update(key).digest();
}

function parseAnswer(row: object | null): Answer | undefined {
  return row ? JSON.parse((row as { answer: string }).answer) : undefined;
}
