/** Saves checkpoints: copies tensors while training waits, and writes them while it continues. */
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { findWorker } from '@meap/files';
import type { WritableTensor, writeSafetensors, writeShardedSafetensors } from '@meap/safetensors';
import type { CheckpointAnswer } from './checkpoint-worker.ts';
import { CheckpointError } from './errors.ts';
import type { LockMark } from './lock.ts';
import {
  type CheckpointJob,
  notSaved,
  OPTIMIZER,
  openPartial,
  type Retention,
  type TensorFile,
  type TrainerState,
  writeCheckpoint,
} from './write-checkpoint.ts';

/**
 * Writes tensors like the functions of `@meap/safetensors` with these names, but in the background: when a call returns,
 * the tensors have been copied and may change; the file may not exist yet.
 */
export interface TensorWriter {
  /** Writes one file of tensors. */
  writeSafetensors: (...file: Parameters<typeof writeSafetensors>) => Promise<void>;
  /** Writes tensors to one or more files with an index. */
  writeShardedSafetensors: (...files: Parameters<typeof writeShardedSafetensors>) => Promise<void>;
}

/** Writes config, tokenizer and weights into an existing directory. */
export type SaveModel = (directory: string, writer: TensorWriter) => unknown;

/** Options of {@link CheckpointSaver}. */
export interface CheckpointSaverOptions extends Retention {
  /** The `checkpoints` folder of a run. */
  directory: string;
  saveModel: SaveModel;
  /** Whether to save in the background from a copy; otherwise tensors are written one by one without a copy. */
  background: boolean;
}

/** Saves the checkpoints of a run, one at a time. */
export class CheckpointSaver {
  readonly #options: CheckpointSaverOptions;
  /** Reused by every save: new memory would have to be mapped page by page. */
  readonly #copies = new Map<string, Uint8Array>();
  #worker: Worker | undefined;
  #pending: Promise<unknown> = Promise.resolve();

  constructor(options: CheckpointSaverOptions) {
    this.#options = options;
  }

  /**
   * Starts a save after the previous one has ended. Resolves when training may continue, with a promise of the path.
   *
   * @throws CheckpointError if the model cannot be saved; the promise of the path may reject with one too
   */
  async begin(
    state: TrainerState,
    optimizerTensors: TensorFile['tensors'],
    logs: readonly string[],
    lock: LockMark,
  ): Promise<{ path: Promise<string> }> {
    await this.#pending;
    const { saveModel, background, directory, ...retention } = this.#options;
    const files: TensorFile[] = [];
    const add = async (file: TensorFile) => {
      files.push(background ? await this.#copy(file, files.length) : file);
    };
    try {
      const partial = await openPartial(directory, state.step);
      await saveModel(partial, {
        writeSafetensors: (path, tensors, options = {}) =>
          add({ path, tensors: [...tensors], options, sharded: false }),
        writeShardedSafetensors: (path, tensors, options = {}) =>
          add({ path, tensors: [...tensors], options, sharded: true }),
      });
      await add({ path: join(partial, OPTIMIZER), tensors: optimizerTensors, options: {}, sharded: false });
    } catch (error) {
      throw await notSaved(directory, state.step, error);
    }
    const job: CheckpointJob = { directory, state, files, logs, lock, ...retention };
    const path = background ? this.#writeInWorker(job) : writeCheckpoint(job);
    this.#pending = path.catch(() => {});
    if (!background) await this.#pending;
    return { path };
  }

  /** Waits for a pending save and ends the thread. */
  async close(): Promise<void> {
    await this.#pending;
    await this.#worker?.terminate();
    this.#worker = undefined;
  }

  async #copy(file: TensorFile, index: number): Promise<TensorFile> {
    const tensors: (readonly [string, WritableTensor])[] = [];
    for (const [name, { data, ...rest }] of file.tensors) {
      const bytes = typeof data === 'function' ? await data() : data;
      tensors.push([name, { ...rest, data: this.#store(`${index}/${name}`, bytes) }]);
    }
    return { ...file, tensors };
  }

  /** Copies bytes to memory shared with the worker. */
  #store(key: string, bytes: Uint8Array): Uint8Array {
    let copy = this.#copies.get(key);
    if (copy?.length !== bytes.length) {
      copy = new Uint8Array(new SharedArrayBuffer(bytes.length));
      this.#copies.set(key, copy);
    }
    copy.set(bytes);
    return copy;
  }

  #writeInWorker(job: CheckpointJob): Promise<string> {
    const file = findWorker('checkpoint-worker.js', import.meta.url);
    if (!file) return writeCheckpoint(job);
    this.#worker ??= new Worker(file);
    const worker = this.#worker;
    return new Promise((resolve, reject) => {
      const settle = async (answer: CheckpointAnswer | { died: unknown }) => {
        worker.off('message', settle).off('error', onDeath).off('exit', onDeath);
        if ('path' in answer) resolve(answer.path);
        else if ('error' in answer) reject(new CheckpointError(answer.error));
        else {
          this.#worker = undefined;
          reject(await notSaved(job.directory, job.state.step, answer.died));
        }
      };
      const onDeath = (why: unknown) =>
        settle({ died: why instanceof Error ? why : 'the writing thread ended' });
      worker.on('message', settle).on('error', onDeath).on('exit', onDeath);
      worker.postMessage(job);
    });
  }
}
