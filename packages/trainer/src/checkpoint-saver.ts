/** Saves checkpoints: tensors are copied while training waits, and written while it goes on. */
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
 * Writes files of tensors as the functions of `@meap/safetensors` of these names do, but beside training: when a call
 * returns, the tensors have been copied and may change, and nothing need be in the file yet.
 */
export interface TensorWriter {
  /** One file of tensors. */
  writeSafetensors: (...file: Parameters<typeof writeSafetensors>) => Promise<void>;
  /** Tensors in as many files as their size asks for, with an index. */
  writeShardedSafetensors: (...files: Parameters<typeof writeShardedSafetensors>) => Promise<void>;
}

/** Writes config, tokenizer and weights into an existing directory. */
export type SaveModel = (directory: string, writer: TensorWriter) => unknown;

/** Where a {@link CheckpointSaver} saves and how. */
export interface CheckpointSaverOptions extends Retention {
  /** The `checkpoints` folder of a run. */
  directory: string;
  saveModel: SaveModel;
  /** Whether to copy and go on; otherwise tensors go to the disk one by one, without a copy. */
  background: boolean;
}

/** Saves the checkpoints of a run, one at a time. */
export class CheckpointSaver {
  readonly #options: CheckpointSaverOptions;
  /** Kept from one save to the next: fresh memory would have to be mapped page by page each time. */
  readonly #copies = new Map<string, Uint8Array>();
  #worker: Worker | undefined;
  #underWay: Promise<unknown> = Promise.resolve();

  constructor(options: CheckpointSaverOptions) {
    this.#options = options;
  }

  /**
   * Begins to save, once the save before has ended. Returns when training may go on, with the path to come.
   *
   * @throws CheckpointError where the model cannot be saved; the path's promise may be rejected with one too
   */
  async begin(
    state: TrainerState,
    optimizerTensors: TensorFile['tensors'],
    logs: readonly string[],
    lock: LockMark,
  ): Promise<{ path: Promise<string> }> {
    await this.#underWay;
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
    const path = background ? this.#writeBeside(job) : writeCheckpoint(job);
    this.#underWay = path.catch(() => {});
    if (!background) await this.#underWay;
    return { path };
  }

  /** Waits for the save under way, if any, and ends. */
  async close(): Promise<void> {
    await this.#underWay;
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

  /** Shared with the worker, so that it need not be copied again. */
  #store(key: string, bytes: Uint8Array): Uint8Array {
    let copy = this.#copies.get(key);
    if (copy?.length !== bytes.length) {
      copy = new Uint8Array(new SharedArrayBuffer(bytes.length));
      this.#copies.set(key, copy);
    }
    copy.set(bytes);
    return copy;
  }

  #writeBeside(job: CheckpointJob): Promise<string> {
    const file = findWorker('./checkpoint-worker.js', import.meta.url);
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
