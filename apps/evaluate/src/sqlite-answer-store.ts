import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Answer, AnswerStore } from '@meap/evals';
import { RunError, reasonOf } from '@meap/recipe-cli';
import { acquireLock, RunLockedError } from '@meap/trainer';
import { AnswerDatabase } from './answer-database.ts';

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
  readonly #stores = new Map<string, AnswerStore<unknown>>();

  constructor(directory: string, options: AnswerStoreOptions = {}) {
    this.#directory = directory;
    this.#options = options;
  }

  /** Returns the store of a model's fingerprint, of the judge, or of attention; see {@link openAnswerStore}. */
  of<Value = Answer>(name: string): AnswerStore<Value> {
    const store = this.#stores.get(name) ?? openAnswerStore<unknown>(this.#directory, name, this.#options);
    this.#stores.set(name, store);
    return store as AnswerStore<Value>;
  }
}

/**
 * Returns the answers of a model in `FOLDER/answers/FINGERPRINT/answers.sqlite`, which several processes may use at once:
 * each call locks and opens the file.
 *
 * `put` is one transaction, which is on the disk when it returns. A damaged file is moved away, and its intact answers
 * are kept.
 *
 * `get` and `put` throw RunError for a folder that cannot be written, or a file of a newer version.
 */
export function openAnswerStore<Value = Answer>(
  directory: string,
  fingerprint: string,
  options: AnswerStoreOptions = {},
): AnswerStore<Value> {
  const folder = join(directory, 'answers', fingerprint.slice(0, 32));
  const path = join(folder, 'answers.sqlite');
  const { onWarning = console.warn } = options;
  let isChecked = false;
  // Calls of this process take turns without asking for the lock in vain.
  let last: Promise<unknown> = Promise.resolve();
  const use = <T>(problem: string, work: (database: AnswerDatabase<Value>) => T): Promise<T> => {
    const turn = async () => {
      const release = await lock(folder, { ...options, onWarning });
      try {
        const database = new AnswerDatabase<Value>(path, { onWarning, isChecked });
        try {
          isChecked = true;
          return work(database);
        } finally {
          database.close();
        }
      } catch (error) {
        throw new RunError(
          `${path}: ${problem}: ${reasonOf(error)}; free disk space, use another --cache, or --resume never`,
        );
      } finally {
        release();
      }
    };
    const result = last.then(turn, turn);
    last = result;
    return result;
  };
  return {
    get: (keys) => use('answers cannot be read', (database) => database.get(keys)),
    put: (entries) => use('answers cannot be stored', (database) => database.put(entries)),
  };
}

/** Milliseconds between two attempts to lock the answers. */
const RETRY = 25;
/** Attempts until the process that holds the lock is named: 10 seconds. */
const PATIENT_ATTEMPTS = 400;

/** Waits while another process reads or writes the answers of a batch. */
async function lock(
  folder: string,
  { onWarning: onWait = console.warn, signal }: AnswerStoreOptions,
): Promise<() => void> {
  for (let attempts = 1; ; attempts++) {
    signal?.throwIfAborted();
    try {
      return (await acquireLock(folder, { signal, isBrief: true })).release;
    } catch (error) {
      if (!(error instanceof RunLockedError)) {
        const reason = reasonOf((error as Error).cause ?? error);
        throw new RunError(
          `--cache: ${folder} cannot be written: ${reason}; use another --cache, or --resume never`,
        );
      }
      if (attempts === PATIENT_ATTEMPTS) onWait(`--cache: waiting for ${folder}: ${reasonOf(error)}`);
    }
    await sleep(RETRY, undefined, { signal }).catch(() => {});
  }
}
