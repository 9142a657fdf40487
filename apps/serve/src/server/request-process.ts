/**
 * Reads requests outside the process that serves: what a body, a chat template or a tokenizer's expressions can do at
 * worst, time, memory, even an end of the process by V8 (which no thread survives), is then one request's fault alone.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { setPriority } from 'node:os';
import { findWorker } from '@meap/files';
import { ConfigurationError, RunError } from '@meap/recipe-cli';
import { ApiError } from './api-error.ts';
import type { ChatRequest, CompletionRequest, ReadSettings } from './read-request.ts';
import type { ReadResult, ReadTask, WorkerOptions, WorkerReady } from './request-worker.ts';

/** Bodies beyond this size are read by a process of their own, so that small ones do not wait for them. */
const SMALL_BODY = 64 * 1024;
/** Milliseconds to read a request: of what people send it takes a few. */
const SMALL_DEADLINE = 5_000;
const LARGE_DEADLINE = 30_000;
/** Milliseconds after which the process for large bodies, which comes when it is needed, gives its memory back. */
const LARGE_IDLE = 10_000;
/** MiB of JavaScript's heap. */
const MAX_HEAP = 512;
/** What a process for large bodies leaves to others: a large request is late anyway. */
const LOW_PRIORITY = 10;

/** Reads requests in processes of its own until it is closed. */
export class RequestProcesses {
  /** Ids that end an answer in a chat; absent: the model has no chat template. */
  readonly chatStopIds: readonly number[] | undefined;
  /** What chats follow, or why there are none; for people. */
  readonly chatDescription: string;
  readonly #small: Lane;
  readonly #large: Lane;

  /** @throws ConfigurationError for a chat template that cannot be had; RunError for a tokenizer */
  static async open(options: WorkerOptions): Promise<RequestProcesses> {
    const small = new Lane(options, { deadline: SMALL_DEADLINE });
    const ready = await small.start();
    if ('failure' in ready) {
      small.close();
      const { name, message } = ready.failure;
      throw name === 'TemplateError' ? new ConfigurationError([message]) : new RunError(message);
    }
    return new RequestProcesses(options, small, ready.chat);
  }

  private constructor(
    options: WorkerOptions,
    small: Lane,
    { stopIds, description }: { stopIds?: readonly number[]; description: string },
  ) {
    this.chatStopIds = stopIds;
    this.chatDescription = description;
    this.#small = small;
    this.#large = new Lane(options, { deadline: LARGE_DEADLINE, idle: LARGE_IDLE, priority: LOW_PRIORITY });
  }

  /**
   * Reads a body of `/v1/completions`.
   *
   * @param signal aborted when the client has left
   * @throws ApiError what its client is told
   */
  completion(body: Buffer, settings: ReadSettings, signal: AbortSignal): Promise<CompletionRequest> {
    return this.#read({ endpoint: 'completion', body, settings }, signal) as Promise<CompletionRequest>;
  }

  /** Reads a body of `/v1/chat/completions`, as {@link completion}. */
  chat(body: Buffer, settings: ReadSettings, signal: AbortSignal): Promise<ChatRequest> {
    return this.#read({ endpoint: 'chat', body, settings }, signal) as Promise<ChatRequest>;
  }

  /** Ends the processes; what they have not read is refused. */
  close(): void {
    this.#small.close();
    this.#large.close();
  }

  #read(task: ReadTask, signal: AbortSignal): Promise<CompletionRequest | ChatRequest> {
    return (task.body.length <= SMALL_BODY ? this.#small : this.#large).read(task, signal);
  }
}

interface Job {
  readonly task: ReadTask;
  readonly signal: AbortSignal;
  resolve(read: CompletionRequest | ChatRequest): void;
  reject(error: unknown): void;
}

/** One process and those who wait for it. */
class Lane {
  readonly #options: WorkerOptions;
  readonly #deadline: number;
  readonly #idle: number | undefined;
  readonly #priority: number;
  #waiting: Job[] = [];
  #current: Job | undefined;
  #process: ChildProcess | undefined;
  #isReady = false;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;

  /** @param limits `idle` ends a process that has had nothing to do for so long */
  constructor(
    options: WorkerOptions,
    { deadline, idle, priority = 0 }: { deadline: number; idle?: number; priority?: number },
  ) {
    this.#options = options;
    this.#deadline = deadline;
    this.#idle = idle;
    this.#priority = priority;
  }

  read(task: ReadTask, signal: AbortSignal): Promise<CompletionRequest | ChatRequest> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const job = { task, signal, resolve, reject };
      this.#waiting.push(job);
      signal.addEventListener(
        'abort',
        () => {
          this.#waiting = this.#waiting.filter((waiting) => waiting !== job);
          reject(signal.reason);
        },
        { once: true },
      );
      this.#next();
    });
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#process?.kill('SIGKILL');
    const gone = new ApiError(503, 'the server is shutting down', { code: 'shutting_down' });
    for (const job of this.#waiting.splice(0)) job.reject(gone);
    this.#current?.reject(gone);
  }

  /** Starts a process; answers once it can read, or why it never will. */
  start(): Promise<WorkerReady> {
    return new Promise((resolve) => {
      const child = fork(workerFile(), [JSON.stringify(this.#options)], {
        execArgv: [`--max-old-space-size=${MAX_HEAP}`],
        // One thread beside those of the model.
        env: { ...process.env, RAYON_NUM_THREADS: '1' },
        // Buffers as they are; JSON would make them ten times as long.
        serialization: 'advanced',
        // Output of V8 at its end; that it has ended is told in one line.
        stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      });
      this.#process = child;
      this.#isReady = false;
      try {
        if (child.pid !== undefined && this.#priority !== 0) setPriority(child.pid, this.#priority);
      } catch {
        // Gone already, which its end tells.
      }
      child.once('message', (ready: WorkerReady) => {
        if ('failure' in ready) this.#isClosed = true;
        resolve(ready);
        this.#isReady = true;
        child.on('message', (result: ReadResult) => this.#settle(result));
        this.#next();
      });
      const onEnd = (end: string) => {
        resolve({ failure: { name: 'RunError', message: `the process that reads requests ended (${end})` } });
        this.#onEnd(end, child);
      };
      child.on('error', ({ message }) => onEnd(message));
      child.once('close', (code, signal) => onEnd(signal ?? `code ${code}`));
    });
  }

  #next(): void {
    if (this.#isClosed || this.#current || this.#waiting.length === 0) return;
    clearTimeout(this.#timer);
    if (!this.#process) void this.start();
    // A new one says when it is.
    if (!this.#isReady) return;
    // The shortest first: it costs the others least.
    const job = this.#waiting.reduce((a, b) => (b.task.body.length < a.task.body.length ? b : a));
    this.#waiting = this.#waiting.filter((waiting) => waiting !== job);
    this.#current = job;
    this.#timer = setTimeout(() => this.#process?.kill('SIGKILL'), this.#deadline);
    this.#process!.send(job.task, () => {});
  }

  #settle(result: ReadResult): void {
    const job = this.#current;
    this.#current = undefined;
    clearTimeout(this.#timer);
    if ('read' in result) job?.resolve(result.read);
    else if ('refusal' in result) {
      const { status, message, ...rest } = result.refusal;
      job?.reject(new ApiError(status, message, rest));
    } else job?.reject(new Error(`reading a request: ${result.bug}`));
    if (this.#idle !== undefined) {
      this.#timer = setTimeout(() => {
        const child = this.#process;
        this.#process = undefined;
        child?.kill('SIGKILL');
      }, this.#idle).unref();
    }
    this.#next();
  }

  #onEnd(end: string, child: ChildProcess): void {
    if (this.#process !== child) return;
    const wasReady = this.#isReady;
    this.#process = undefined;
    this.#isReady = false;
    clearTimeout(this.#timer);
    const job = this.#current ?? (wasReady ? undefined : this.#waiting.shift());
    this.#current = undefined;
    if (this.#isClosed) return;
    if (job && wasReady) {
      const param = job.task.endpoint === 'chat' ? 'messages' : 'prompt';
      console.error(
        `a request's ${param} ended the process that reads requests (${end}); another one takes over`,
      );
      const limits = `${this.#deadline / 1000} s and ${MAX_HEAP} MiB`;
      job.reject(
        new ApiError(
          400,
          `${param}: to read the request takes more than the ${limits} there are; shorten it`,
          {
            param,
            code: 'request_too_complex',
          },
        ),
      );
    } else job?.reject(new Error(`the process that reads requests could not start (${end})`));
    // Those that come next do not wait for its start.
    if (this.#waiting.length > 0 || (this.#idle === undefined && wasReady)) void this.start();
  }
}

function workerFile(): string {
  const found = findWorker('./request-worker.js', import.meta.url);
  if (!found)
    throw new RunError('request-worker.js is missing (bundled away?); install the package unbundled');
  return found;
}
