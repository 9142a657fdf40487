import type { CheckpointSaver } from './checkpoint-saver.ts';
import { CheckpointError } from './errors.ts';
import type { LockMark } from './lock.ts';
import type { RankGroup } from './rank-group.ts';
import type { TrainingStep } from './training-step.ts';
import type { TrainerState } from './write-checkpoint.ts';

/** Options of {@link RunSaver}. */
export interface RunSaverOptions {
  saver: CheckpointSaver;
  ranks: RankGroup;
  work: TrainingStep;
  /** Returns the current state; called on rank 0. */
  state: () => Promise<TrainerState>;
  /** Flushes the logs that must be on disk before a checkpoint, and returns their paths. */
  flushLogs: () => readonly string[];
  /** Returns the lock of the run directory. */
  lock: () => LockMark;
  onSaved: (step: number, path: string) => void;
  /** Called when a checkpoint cannot be written during the run. */
  onFailure: (message: string) => void;
}

/** Saves a run's state and tracks whether the current state has been saved. All ranks make the same calls. */
export class RunSaver {
  readonly #options: RunSaverOptions;
  /** On rank 0, the checkpoint of the current state, possibly pending; undefined if there is none. */
  #saved: Promise<string | undefined> | undefined;

  constructor(options: RunSaverOptions) {
    this.#options = options;
  }

  /** Marks the current state as saved in a checkpoint. */
  markSaved(path: string): void {
    this.#saved = Promise.resolve(path);
  }

  /** Marks the current state as unsaved. */
  markChanged(): void {
    this.#saved = undefined;
  }

  /** Starts a save; resolves when training may continue. Reports a failure; earlier checkpoints stay. */
  async save(): Promise<void> {
    await this.#begin((error) => {
      if (!(error instanceof CheckpointError)) throw error;
      this.#options.onFailure(`${error.message}; training continues, earlier checkpoints stay`);
      return undefined;
    });
  }

  /**
   * Saves the current state unless it has been saved, and waits for its checkpoint.
   *
   * @returns its path, on all ranks
   * @throws CheckpointError, on all ranks, if it cannot be written
   */
  async finish(): Promise<string> {
    let last = await this.#written();
    if (last.path === undefined) {
      await this.#begin();
      last = await this.#written();
    }
    if (last.path === undefined) throw new CheckpointError(last.failed!);
    return last.path;
  }

  /** Waits for a pending checkpoint and ends. */
  close(): Promise<void> {
    return this.#options.saver.close();
  }

  /** Starts a save on rank 0 of the state of all ranks; waits for the copy, or without a copy for the save. */
  async #begin(onFailure?: (error: unknown) => undefined): Promise<void> {
    const { ranks, work } = this.#options;
    const saveOnFirst = async (ask: (index: number) => Promise<Uint8Array>) => {
      const begun = this.#write(ask);
      const path = begun.then(({ path }) => path);
      this.#saved = onFailure ? path.catch(onFailure) : path;
      // A later await receives the rejection; until then it must not count as unhandled.
      this.#saved.catch(() => {});
      await begun.catch(() => {});
    };
    await ranks.onFirst(saveOnFirst, work.readTensor);
  }

  async #write(ask: (index: number) => Promise<Uint8Array>): Promise<{ path: Promise<string> }> {
    const { saver, work, flushLogs, lock, onSaved } = this.#options;
    const tensors = work.tensors.map(({ name, shape }, index) => {
      return [name, { dtype: 'F32', shape, data: () => ask(index) }] as const;
    });
    const logs = flushLogs();
    const state = await this.#options.state();
    const { path } = await saver.begin(state, tensors, logs, lock());
    const reported = path.then((path) => {
      onSaved(state.step, path);
      return path;
    });
    return { path: reported };
  }

  /** Waits for the checkpoint of the current state; returns its path or error on all ranks. */
  #written(): Promise<{ path?: string; failed?: string }> {
    return this.#options.ranks.onFirst(async () => {
      try {
        return { path: await this.#saved };
      } catch (error) {
        if (!(error instanceof CheckpointError)) throw error;
        return { failed: error.message };
      }
    });
  }
}
