import { homedir } from 'node:os';
import { join } from 'node:path';
import type { AnswerStore } from '@meap/evals';
import { RunError, reasonOf } from '@meap/recipe-cli';
import { acquireLock, RunLockedError } from '@meap/trainer';
import { AnswerDatabase } from './answer-database.ts';

/** An {@link AnswerStore} in a file, held by one process at a time. */
export interface SqliteAnswerStore extends AnswerStore {
  /** Lets another process have the file. */
  close(): void;
}

/** Who hears that a store had to be repaired or waited for, and what ends the waiting. */
export interface AnswerStoreOptions {
  /** Called with a line for each. */
  onWarning?: (message: string) => void;
  /** Ends the waiting for another process. */
  signal?: AbortSignal;
}

/** Where answers are kept unless told otherwise: `$XDG_CACHE_HOME/meap` or `~/.cache/meap`. */
export function defaultCacheDirectory(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'meap');
}

/** Stores of a folder by name, each opened when it is first used. */
export class AnswerStores {
  readonly #directory: string;
  readonly #options: AnswerStoreOptions;
  readonly #open = new Map<string, Promise<SqliteAnswerStore>>();

  constructor(directory: string, options: AnswerStoreOptions = {}) {
    this.#directory = directory;
    this.#options = options;
  }

  /** The store of a model's fingerprint, or of a judge; see {@link openAnswerStore}. */
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
    // One that could not be opened has said so.
    for (const store of await Promise.allSettled(this.#open.values())) {
      if (store.status === 'fulfilled') store.value.close();
    }
  }
}

/**
 * Opens the answers of one model, in `FOLDER/answers/FINGERPRINT/answers.sqlite`; made where absent.
 *
 * A call of `put` is one transaction, on the disk when it returns: whatever happens to the process, a later one finds
 * all answers of a call or none. A file that is damaged, or holds an answer without its checksum, is set aside; whole
 * answers are kept, and the others count as never given.
 *
 * @throws RunError where another process has them open, or where the folder cannot be written
 */
export async function openAnswerStore(
  directory: string,
  fingerprint: string,
  options: AnswerStoreOptions = {},
): Promise<SqliteAnswerStore> {
  const folder = join(directory, 'answers', fingerprint.slice(0, 32));
  const path = join(folder, 'answers.sqlite');
  const release = await lock(folder, options);
  const usable = <T>(what: string, work: () => T): T => {
    try {
      return work();
    } catch (error) {
      throw new RunError(
        `${path}: ${what}: ${reasonOf(error)}; make room, give another --cache, or --resume never`,
      );
    }
  };
  try {
    const database = usable(
      'cannot be used',
      () => new AnswerDatabase(path, options.onWarning ?? console.warn),
    );
    return {
      get: async (keys) => usable('answers cannot be read', () => database.get(keys)),
      put: async (entries) => usable('answers cannot be kept', () => database.put(entries)),
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
          'or give another --cache, or --resume never',
      );
    }
    const reason = reasonOf((error as Error).cause ?? error);
    throw new RunError(
      `--cache: ${folder} cannot be written: ${reason}; give another --cache, or --resume never`,
    );
  }
}
