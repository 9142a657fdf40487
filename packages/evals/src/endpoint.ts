/** Requests to a server with OpenAI's API: paced, retried, with errors that do not contain the key. */
import PQueue from 'p-queue';
import pRetry from 'p-retry';

/** Options of an {@link Endpoint}. */
export interface EndpointOptions {
  /** Address of the API up to its version, such as `http://127.0.0.1:8000/v1`. A query is sent, but not shown. */
  readonly url: string;
  /** Bearer token; read it from the environment. It appears in no error, log, result or store key. */
  readonly apiKey?: string;
  /** Concurrent requests; default 4. */
  readonly concurrency?: number;
  /** Requests per minute, including retries; default unlimited. */
  readonly requestsPerMinute?: number;
  /** Timeout of a request in milliseconds; default two minutes. */
  readonly timeoutMs?: number;
  /** Retries after 429, 5xx, a timeout or a broken answer; default 5. */
  readonly retries?: number;
  /** Wait before the first retry in milliseconds, doubled each time, with a random factor up to 2; default 1000. */
  readonly backoffMs?: number;
  /** Aborts all calls with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** One request. */
export interface EndpointRequest<Answer> {
  /** Below the address: `chat/completions`. */
  readonly path: string;
  /** Sent as JSON by POST; without a body the request is a GET. */
  readonly body?: Readonly<Record<string, unknown>>;
  /** What an answer has, for errors: `choices[0].message`. */
  readonly expected: string;
  /** Reads the JSON of an answer; undefined if it is another. */
  readonly read: (json: unknown) => Answer | undefined;
  /** What to do where the server has no such path (404), for errors. */
  readonly ifMissing?: string;
  readonly signal?: AbortSignal;
}

/** A server that is unreachable or refuses, or wrong options of it. One line, never with a key. */
export class EndpointError extends Error {
  override readonly name = 'EndpointError';
}

/** Limit of the wait that a server may request. */
const MAX_WAIT_MS = 600_000;

/** Reasons without an answer that may pass: {@link reasonOf} a timeout or a disconnect. */
const MAY_PASS = /^(no answer|UND_ERR_|ECONNRESET|EPIPE|ETIMEDOUT|EAI_AGAIN)/;

/** A failure that a retry may fix. */
class TransientError extends Error {}

/**
 * A server of models behind HTTP.
 *
 * The first permanent failure aborts all current and later requests, so that a wrong key is tried a few times, not once per
 * item.
 */
export class Endpoint {
  /** Address without query. */
  readonly address: string;
  /** Requests sent, including retries. */
  numRequests = 0;
  readonly #options: EndpointOptions;
  readonly #query: string;
  readonly #apiKey: string | undefined;
  readonly #queue: PQueue;
  readonly #failed = new AbortController();
  readonly #signal: AbortSignal;
  /** Earliest time of the next request, by `Date.now()`. */
  #resumeAt = 0;
  #hasAnswered = false;

  /**
   * @param setting name of the options in errors, such as `judge`
   * @throws EndpointError for an address that is not http, or a key that cannot be sent
   */
  constructor(options: EndpointOptions, setting: string) {
    const { url, concurrency = 4, requestsPerMinute, signal } = options;
    const { origin, pathname, search } = checkedUrl(url, setting);
    this.#options = options;
    this.address = origin + pathname.replace(/\/((chat\/)?completions\/?)?$/, '');
    this.#query = search;
    this.#apiKey = usableKey(options.apiKey, setting);
    this.#queue = new PQueue({
      concurrency,
      ...(requestsPerMinute ? { interval: 60_000, intervalCap: requestsPerMinute } : {}),
    });
    this.#signal = signal ? AbortSignal.any([signal, this.#failed.signal]) : this.#failed.signal;
  }

  /** An error of an answer. */
  error(path: string, problem: string): EndpointError {
    return new EndpointError(`${this.address}/${path}: ${problem}`);
  }

  /** @throws EndpointError if the server refuses, or does not answer after all retries; the signal's reason */
  async send<Answer>(request: EndpointRequest<Answer>): Promise<Answer> {
    // One signal per call: Node warns of a leak when many waiting calls listen to the same signal.
    const signal = AbortSignal.any([this.#signal, ...(request.signal ? [request.signal] : [])]);
    const { retries = 5, backoffMs = 1000 } = this.#options;
    try {
      return await pRetry(() => this.#queue.add(() => this.#attempt(request, signal), { signal }), {
        retries,
        minTimeout: backoffMs,
        maxTimeout: 60_000,
        randomize: true,
        shouldRetry: ({ error }) => error instanceof TransientError,
        signal,
      });
    } catch (error) {
      signal.throwIfAborted();
      const failure =
        error instanceof TransientError
          ? this.error(request.path, `no answer in ${retries + 1} attempts: ${error.message}`)
          : error;
      this.#failed.abort(failure);
      throw failure;
    }
  }

  async #attempt<Answer>(request: EndpointRequest<Answer>, signal: AbortSignal): Promise<Answer> {
    const { path, body, expected, read } = request;
    const { timeoutMs = 120_000 } = this.#options;
    await sleep(this.#resumeAt - Date.now(), signal);
    this.numRequests++;
    let response: Response;
    let text: string;
    try {
      response = await fetch(`${this.address}/${path}${this.#query}`, {
        method: body ? 'POST' : 'GET',
        headers: {
          'content-type': 'application/json',
          ...(this.#apiKey ? { authorization: `Bearer ${this.#apiKey}` } : {}),
        },
        body: body && JSON.stringify(body),
        signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      });
      text = await response.text();
    } catch (error) {
      signal.throwIfAborted();
      const reason = this.#redact(reasonOf(error, timeoutMs));
      // The user learns at once that nothing listens; a server that answered before may be restarting.
      if (!this.#hasAnswered && !MAY_PASS.test(reason)) {
        throw this.error(path, `cannot be reached: ${reason}; start the server, or correct the address`);
      }
      throw new TransientError(reason);
    }
    this.#hasAnswered = true;
    if (!response.ok) throw this.#refusal(request, response, text);
    const answer = read(parseJson(text));
    if (answer !== undefined) return answer;
    const problem = `expected ${expected}, got ${this.#excerpt(text)}`;
    // A web page stays one.
    throw /^\s*</.test(text)
      ? this.error(path, `${problem}; correct the address`)
      : new TransientError(problem);
  }

  /** The error of a status other than 2xx. */
  #refusal(
    { path, body, ifMissing }: EndpointRequest<unknown>,
    { status, headers }: Response,
    text: string,
  ): Error {
    // The body may repeat a part of the key, which redaction would miss.
    if (status === 401 || status === 403) {
      const key = this.#apiKey ? 'the key that was sent' : 'a request without a key';
      const model = body?.model === undefined ? 'it' : `the model ${body.model}`;
      return this.error(path, `refuses ${key} (${status}), expected one that may use ${model}`);
    }
    const message = `${status} ${this.#excerpt(text)}`;
    // OpenAI answers 429 for an account without credit.
    const isTransient =
      (status === 429 && !text.includes('insufficient_quota')) || status === 408 || status >= 500;
    if (!isTransient) {
      const advice = status === 404 && ifMissing ? `; ${ifMissing}` : '';
      return this.error(path, `refuses the request: ${message}${advice}`);
    }
    const waitMs = retryAfterMs(headers);
    if (waitMs > MAX_WAIT_MS) {
      const seconds = Math.ceil(waitMs / 1000);
      return this.error(
        path,
        `asks to wait ${seconds} s, expected at most ${MAX_WAIT_MS / 1000} s; try again later`,
      );
    }
    // Delays all requests, not only this one.
    this.#resumeAt = Math.max(this.#resumeAt, Date.now() + waitMs);
    return new TransientError(message);
  }

  #excerpt(text: string): string {
    const line = this.#redact(errorMessage(text) ?? text)
      .replace(/\s+/g, ' ')
      .trim();
    return line.length > 200 ? `${line.slice(0, 200)}…` : line || 'nothing';
  }

  #redact(text: string): string {
    return this.#apiKey ? text.replaceAll(this.#apiKey, '***') : text;
  }
}

/** A message of a chat model; empty if it answers without text. */
export interface ChatReply {
  readonly content: string;
  readonly finish?: string;
  readonly promptTokens?: number;
  readonly completionTokens?: number;
}

/** Reads an answer of `chat/completions`; undefined if it is another. */
export function readChatReply(json: unknown): ChatReply | undefined {
  try {
    // biome-ignore lint/suspicious/noExplicitAny: unknown shape, any error means another one.
    const { choices, usage } = json as any;
    const { message, finish_reason: finish } = choices[0];
    const { content } = message;
    const count = (value: unknown) => (Number.isInteger(value) ? (value as number) : undefined);
    return {
      content: typeof content === 'string' ? content : '',
      ...(typeof finish === 'string' && { finish }),
      promptTokens: count(usage?.prompt_tokens),
      completionTokens: count(usage?.completion_tokens),
    };
  } catch {
    return undefined;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The message of an OpenAI error. */
function errorMessage(text: string): string | undefined {
  const message = (parseJson(text) as { error?: { message?: unknown } } | null | undefined)?.error?.message;
  return typeof message === 'string' && message !== '' ? message : undefined;
}

function checkedUrl(url: string, setting: string): URL {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const isHttp = parsed?.protocol === 'http:' || parsed?.protocol === 'https:';
  // A name and password in the address would appear in errors.
  if (parsed && isHttp && !parsed.username && !parsed.password) return parsed;
  throw new EndpointError(
    `${setting}: the address is wrong, expected one like http://127.0.0.1:8000/v1, without name and password`,
  );
}

function usableKey(apiKey: string | undefined, setting: string): string | undefined {
  const key = apiKey?.trim();
  if (key && !/^[\x21-\x7e]+$/.test(key)) {
    throw new EndpointError(
      `${setting}: the key has invalid characters, expected printable ASCII without spaces`,
    );
  }
  return key || undefined;
}

function reasonOf(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return `no answer within ${timeoutMs} ms`;
  // The message of fetch is "fetch failed"; its cause has the reason.
  const { code, message } = (error.cause ?? error) as { code?: string; message?: string };
  return [code, message].filter(Boolean).join(' ');
}

/** The wait that the server requests, in seconds or as a date (RFC 9110, 10.2.3); 0 without the header. */
function retryAfterMs(headers: Headers): number {
  const value = headers.get('retry-after') ?? '0';
  const ms = /^\d+(\.\d+)?$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Math.max(0, ms || 0);
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    signal.addEventListener('abort', stop, { once: true });
  });
}
