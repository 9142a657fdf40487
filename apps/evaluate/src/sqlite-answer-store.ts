import { homedir } from 'node:os';
import { join } from 'node:path';
import type { AnswerStore } from '@meap/evals';
import { RunError, reasonOf } from '@meap/recipe-cli';
import { acquireLock, RunLockedError } from '@meap/trainer';
import { AnswerDatabase } from './answer-database.ts';

/** An {@link AnswerStore} in a file that one process can open at a time. */
export interface SqliteAnswerStore extends AnswerStore {
  /** Closes the file, so that another process can open it. */
  close(): void;
}

/** Options of {@link openAnswerStore}. */
export interface AnswerStoreOptions {
  /** Called with a one-line message when the store is repaired or in use. */
  onWarning?: (message: string) => void;
  /** Aborts waiting for another process. */
  signal?: AbortSignal;
}

/** Returns the default cache folder, `$XDG_CACHE_HOME/meap` or `~/.cache/meap`. */
export function defaultCacheDirectory(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'meap');
}

/** The stores of a folder, opened on first use. */
export class AnswerStores {
  readonly #directory: string;
  readonly #options: AnswerStoreOptions;
  readonly #open = new Map<string, Promise<SqliteAnswerStore>>();

  constructor(directory: string, options: AnswerStoreOptions = {}) {
    this.#directory = directory;
    this.#options = options;
  }

  /** Returns the store of a model's fingerprint or of the judge; see {@link openAnswerStore}. */
  of(name: string): AnswerStore {
    const opened = (): Promise<SqliteAnswerStore> => {
      const store = this.#open.get(name) ?? openAnswerStore(this.#directory, name, this.#options);
      this.#open.set(name, store);
      return store;
    };
    return {
      get: async (keys) => (await opened()).get(keys),
      put: async (entries) => (await opened()).put(entries),
    };
  }

  async close(): Promise<void> {
    // Errors of opening were reported on use.
    for (const store of await Promise.allSettled(this.#open.values())) {
      if (store.status === 'fulfilled') store.value.close();
    }
  }
}

/**
 * Opens or creates the answers of a model in `FOLDER/answers/FINGERPRINT/answers.sqlite`.
 *
 * `put` is one transaction, which is on the disk when it returns. A damaged file is moved away, and its intact answers
 * are kept.
 *
 * @throws RunError if another process has the file open, or the folder cannot be written
 */
export async function openAnswerStore(
  directory: string,
  fingerprint: string,
  options: AnswerStoreOptions = {},
): Promise<SqliteAnswerStore> {
  const folder = join(directory, 'answers', fingerprint.slice(0, 32));
  const path = join(folder, 'answers.sqlite');
  const release = await lock(folder, options);
  const attempt = <T>(problem: string, work: () => T): T => {
    try {
      return work();
    } catch (error) {
      throw new RunError(
        `${path}: ${problem}: ${reasonOf(error)}; free disk space, use another --cache, or --resume never`,
      );
    }
  };
  try {
    const database = attempt(
      'cannot be used',
      () => new AnswerDatabase(path, options.onWarning ?? console.warn),
    );
    return {
      get: async (keys) => attempt('answers cannot be read', () => database.get(keys)),
      put: async (entries) => attempt('answers cannot be stored', () => database.put(entries)),
      close: () => {
        try {
          database.close();
        } finally {
          release();
        }
      },
    };
  } catch (error) {
    release();
    throw error;
  }
}

async function lock(
  folder: string,
  { onWarning: onWait = console.warn, signal }: AnswerStoreOptions,
): Promise<() => void> {
  try {
    return (await acquireLock(folder, { onWait, signal })).release;
  } catch (error) {
    if (error instanceof RunLockedError) {
      throw new RunError(
        `--cache: ${folder} is in use by another evaluation of this model, expected one at a time; wait for it, ` +
          'use another --cache, or --resume never',
      );
    }
    const reason = reasonOf((error as Error).cause ?? error);
    throw new RunError(
      `--cache: ${folder} cannot be written: ${reason}; use another --cache, or --resume never`,
    );
  }
}
