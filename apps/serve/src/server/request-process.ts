/**
 * Parses requests in separate processes. Hostile bodies, chat templates and tokenizer expressions can exhaust time and
 * memory, or make V8 end its process, which a thread would not survive; then only that request fails.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { setPriority } from 'node:os';
import { findWorker } from '@meap/files';
import { ConfigurationError, RunError } from '@meap/recipe-cli';
import { ApiError, invalidField, shuttingDown } from './api-error.ts';
import type { ChatRequest, CompletionRequest, ReadSettings, ResponseRequest } from './read-request.ts';
import type { ChatFacts, ReadResult, ReadTask, WorkerOptions, WorkerReady } from './request-worker.ts';

/** Larger bodies have a separate process, so that small ones do not wait for them. */
const SMALL_BODY = 64 * 1024;
/** Milliseconds to parse a request; typical ones take a few. */
const SMALL_DEADLINE = 5_000;
const LARGE_DEADLINE = 30_000;
/** Milliseconds after which the idle process for large bodies is ended. */
const LARGE_IDLE = 10_000;
/** MiB of JavaScript heap. */
const MAX_HEAP = 512;
/** Priority of the process for large bodies. */
const LOW_PRIORITY = 10;

/** Parses requests in separate processes until closed. */
export class RequestProcesses {
  /** Ids that end an answer in a chat; undefined without a chat template. */
  readonly chatStopIds: readonly number[] | undefined;
  /** Describes the chat template, or why there is none. */
  readonly chatDescription: string;
  /** The chat templates of adapters, by name. */
  readonly adapterChats: Readonly<Record<string, ChatFacts>>;
  readonly #small: WorkerQueue;
  readonly #large: WorkerQueue;

  /** @throws ConfigurationError for an invalid chat template; RunError for an invalid tokenizer */
  static async open(options: WorkerOptions): Promise<RequestProcesses> {
    const small = new WorkerQueue(options, { deadline: SMALL_DEADLINE });
    const ready = await small.start();
    if ('failure' in ready) {
      small.close();
      const { name, message } = ready.failure;
      throw name === 'TemplateError' ? new ConfigurationError([message]) : new RunError(message);
    }
    return new RequestProcesses(options, small, ready);
  }

  private constructor(
    options: WorkerOptions,
    small: WorkerQueue,
    { chat, adapterChats }: Exclude<WorkerReady, { failure: object }>,
  ) {
    this.chatStopIds = chat.stopIds;
    this.chatDescription = chat.description;
    this.adapterChats = adapterChats;
    this.#small = small;
    this.#large = new WorkerQueue(options, {
      deadline: LARGE_DEADLINE,
      idle: LARGE_IDLE,
      priority: LOW_PRIORITY,
    });
  }

  /**
   * Parses a body of `/v1/completions`.
   *
   * @param signal aborted when the client disconnects
   * @throws ApiError the response to the client
   */
  completion(body: Buffer, settings: ReadSettings, signal: AbortSignal): Promise<CompletionRequest> {
    return this.#read({ endpoint: 'completion', body, settings }, signal) as Promise<CompletionRequest>;
  }

  /** Parses a body of `/v1/chat/completions`, like {@link completion}. */
  chat(body: Buffer, settings: ReadSettings, signal: AbortSignal): Promise<ChatRequest> {
    return this.#read({ endpoint: 'chat', body, settings }, signal) as Promise<ChatRequest>;
  }

  /** Parses a body of `/v1/responses`, like {@link completion}. */
  response(body: Buffer, settings: ReadSettings, signal: AbortSignal): Promise<ResponseRequest> {
    return this.#read({ endpoint: 'response', body, settings }, signal) as Promise<ResponseRequest>;
  }

  /** Ends the processes; requests in progress are refused. */
  close(): void {
    this.#small.close();
    this.#large.close();
  }

  #read(task: ReadTask, signal: AbortSignal): Promise<AnyRequest> {
    return (task.body.length <= SMALL_BODY ? this.#small : this.#large).read(task, signal);
  }
}

type AnyRequest = CompletionRequest | ChatRequest | ResponseRequest;

/** The fields that make a request too complex. */
const TEXT_FIELDS = { completion: 'prompt', chat: 'messages', response: 'input' } as const;

interface Job {
  readonly task: ReadTask;
  readonly signal: AbortSignal;
  resolve(read: AnyRequest): void;
  reject(error: unknown): void;
}

/** A process and its queue of requests. */
class WorkerQueue {
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

  /** @param limits in milliseconds; `idle`: when to end an idle process */
  constructor(
    options: WorkerOptions,
    { deadline, idle, priority = 0 }: { deadline: number; idle?: number; priority?: number },
  ) {
    this.#options = options;
    this.#deadline = deadline;
    this.#idle = idle;
    this.#priority = priority;
  }

  read(task: ReadTask, signal: AbortSignal): Promise<AnyRequest> {
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
    const closed = shuttingDown();
    for (const job of this.#waiting.splice(0)) job.reject(closed);
    this.#current?.reject(closed);
  }

  /** Starts the process; resolves when it is ready or has failed. */
  start(): Promise<WorkerReady> {
    return new Promise((resolve) => {
      const child = fork(workerFile(), [JSON.stringify(this.#options)], {
        execArgv: [`--max-old-space-size=${MAX_HEAP}`],
        // The tokenizer uses one thread, the model the others.
        env: { ...process.env, RAYON_NUM_THREADS: '1' },
        // JSON would make buffers ten times as long.
        serialization: 'advanced',
        // Hides V8's output when it ends the process; one line is logged instead.
        stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      });
      this.#process = child;
      this.#isReady = false;
      try {
        if (child.pid !== undefined && this.#priority !== 0) setPriority(child.pid, this.#priority);
      } catch {
        // The process has ended, which is handled below.
      }
      child.once('message', (ready: WorkerReady) => {
        if ('failure' in ready) this.#isClosed = true;
        resolve(ready);
        this.#isReady = true;
        child.on('message', (result: ReadResult) => this.#settle(result));
        this.#next();
      });
      const onEnd = (reason: string) => {
        resolve({
          failure: { name: 'RunError', message: `the process that parses requests ended (${reason})` },
        });
        this.#onEnd(reason, child);
      };
      child.on('error', ({ message }) => onEnd(message));
      child.once('close', (code, signal) => onEnd(signal ?? `code ${code}`));
    });
  }

  #next(): void {
    if (this.#isClosed || this.#current || this.#waiting.length === 0) return;
    clearTimeout(this.#timer);
    if (!this.#process) void this.start();
    if (!this.#isReady) return;
    // Shortest first.
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
    } else job?.reject(new Error(`parsing a request: ${result.bug}`));
    if (this.#idle !== undefined) {
      this.#timer = setTimeout(() => {
        const child = this.#process;
        this.#process = undefined;
        child?.kill('SIGKILL');
      }, this.#idle).unref();
    }
    this.#next();
  }

  #onEnd(reason: string, child: ChildProcess): void {
    if (this.#process !== child) return;
    const wasReady = this.#isReady;
    this.#process = undefined;
    this.#isReady = false;
    clearTimeout(this.#timer);
    const job = this.#current ?? (wasReady ? undefined : this.#waiting.shift());
    this.#current = undefined;
    if (this.#isClosed) return;
    if (job && wasReady) {
      const param = TEXT_FIELDS[job.task.endpoint];
      console.error(
        `a request's ${param} ended the process that parses requests (${reason}); it is restarted`,
      );
      const limits = `${this.#deadline / 1000} s and ${MAX_HEAP} MiB`;
      job.reject(invalidField(param, `parsing exceeds ${limits}; shorten it`, 'request_too_complex'));
    } else job?.reject(new Error(`the process that parses requests could not start (${reason})`));
    // Restarted before the next request arrives.
    if (this.#waiting.length > 0 || (this.#idle === undefined && wasReady)) void this.start();
  }
}

function workerFile(): string {
  const found = findWorker('server/request-worker.js', import.meta.url);
  if (!found)
    throw new RunError('request-worker.js is missing (bundled away?); install the package unbundled');
  return found;
}
