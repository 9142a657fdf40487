import type { CheckpointSaver } from './checkpoint-saver.ts';
import { CheckpointError } from './errors.ts';
import type { LockMark } from './lock.ts';
import type { RankGroup } from './rank-group.ts';
import type { TrainingStep } from './training-step.ts';
import type { TrainerState } from './write-checkpoint.ts';

/** What a {@link RunSaver} saves, and with whom. */
export interface RunSaverOptions {
  saver: CheckpointSaver;
  ranks: RankGroup;
  work: TrainingStep;
  /** The state as it is now; called on rank 0. */
  state: () => Promise<TrainerState>;
  /** Flushes the logs that have to be on the disk before a checkpoint, and names them. */
  flushLogs: () => readonly string[];
  /** Of the run directory. */
  lock: () => LockMark;
  onSaved: (step: number, path: string) => void;
  /** Called where a checkpoint cannot be written in mid-run. */
  onFailure: (message: string) => void;
}

/** Saves a run's state, and knows whether the state as it is now has been saved. Ranks call it together. */
export class RunSaver {
  readonly #options: RunSaverOptions;
  /** On rank 0 the checkpoint of exactly this state, perhaps still being written; undefined where there is none. */
  #saved: Promise<string | undefined> | undefined;

  constructor(options: RunSaverOptions) {
    this.#options = options;
  }

  /** The state is that of this checkpoint. */
  isSavedIn(path: string): void {
    this.#saved = Promise.resolve(path);
  }

  /** The state has changed. */
  hasChanged(): void {
    this.#saved = undefined;
  }

  /** Begins to save; training may continue when it returns. A failure is reported, and earlier checkpoints stay. */
  async save(): Promise<void> {
    await this.#begin((error) => {
      if (!(error instanceof CheckpointError)) throw error;
      this.#options.onFailure(`${error.message}; training goes on, earlier checkpoints stay`);
      return undefined;
    });
  }

  /**
   * Waits for the checkpoint of exactly this state, which is saved now unless it has been.
   *
   * @returns its path, on all ranks
   * @throws CheckpointError, on all ranks, where it cannot be written
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

  /** Waits for the checkpoint under way, if any, and ends. */
  close(): Promise<void> {
    return this.#options.saver.close();
  }

  /** Begins to save on rank 0 what all ranks hold; waits only for the copy, unless there is none. */
  async #begin(onFailure?: (error: unknown) => undefined): Promise<void> {
    const { ranks, work } = this.#options;
    const saveOnFirst = async (ask: (index: number) => Promise<Uint8Array>) => {
      const begun = this.#write(ask);
      const path = begun.then(({ path }) => path);
      this.#saved = onFailure ? path.catch(onFailure) : path;
      // The caller that waits for it receives the failure; until then it is not unhandled.
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

  /** The checkpoint of exactly this state once it is written, or why it could not be; the same on all ranks. */
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
