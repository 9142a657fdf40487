/** Calls of an OpenAI-compatible chat endpoint: paced, retried, counted. */
import PQueue from 'p-queue';
import pRetry from 'p-retry';
import { JudgeError } from './judge.ts';

/** Options of a chat endpoint. */
export interface ChatEndpointOptions {
  /** Base address such as `http://127.0.0.1:8000/v1`; `/chat/completions` is appended. */
  readonly url: string;
  /** The model's name at the endpoint. */
  readonly model: string;
  /** Bearer token; read it from the environment. It appears in no error, log, result or store key. */
  readonly apiKey?: string;
  /** Members of a request's body besides model and messages; default `{ temperature: 0, max_tokens: 512 }`. */
  readonly parameters?: Readonly<Record<string, unknown>>;
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

/** A message of a conversation. */
export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** Counts of requests and tokens. */
export interface ChatUsage {
  /** Requests sent, including retries. */
  numRequests: number;
  promptTokens: number;
  completionTokens: number;
  /** Answers without a token count, estimated at four characters a token. */
  numEstimated: number;
}

/** Limit of the wait that an endpoint may request. */
const MAX_WAIT_MS = 600_000;

/** A failure that a retry may fix. */
class TransientError extends Error {}

/**
 * A chat model behind HTTP.
 *
 * The first permanent failure aborts all current and later calls, so that a wrong key is tried a few times, not once
 * per item.
 */
export class ChatEndpoint {
  readonly usage: ChatUsage = { numRequests: 0, promptTokens: 0, completionTokens: 0, numEstimated: 0 };
  readonly #options: ChatEndpointOptions;
  readonly #address: string;
  readonly #apiKey: string | undefined;
  readonly #queue: PQueue;
  readonly #failed = new AbortController();
  readonly #signal: AbortSignal;
  /** Earliest time of the next request, by `Date.now()`. */
  #resumeAt = 0;

  /** @throws JudgeError for an address that is not http, or a key that cannot be sent */
  constructor(options: ChatEndpointOptions) {
    const { url, concurrency = 4, requestsPerMinute, signal } = options;
    this.#options = options;
    this.#address = chatAddress(url);
    this.#apiKey = usableKey(options.apiKey);
    this.#queue = new PQueue({
      concurrency,
      ...(requestsPerMinute ? { interval: 60_000, intervalCap: requestsPerMinute } : {}),
    });
    this.#signal = signal ? AbortSignal.any([signal, this.#failed.signal]) : this.#failed.signal;
  }

  /** Full address of the requests. */
  get address(): string {
    return this.#address;
  }

  /** Body of a request. */
  body(messages: readonly ChatMessage[]): Record<string, unknown> {
    const { model, parameters = { temperature: 0, max_tokens: 512 } } = this.#options;
    return { model, messages, ...parameters };
  }

  /**
   * The next message of a conversation; empty if the endpoint answers without text.
   *
   * @throws JudgeError if the endpoint refuses, or does not answer after all retries; the signal's reason
   */
  async complete(messages: readonly ChatMessage[]): Promise<string> {
    // One signal per call: Node warns of a leak when many waiting calls listen to the same signal.
    const signal = AbortSignal.any([this.#signal]);
    const { retries = 5, backoffMs = 1000 } = this.#options;
    try {
      return await pRetry(() => this.#queue.add(() => this.#attempt(messages, signal), { signal }), {
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
          ? new JudgeError(`${this.#address}: no answer in ${retries + 1} attempts: ${error.message}`)
          : error;
      this.#failed.abort(failure);
      throw failure;
    }
  }

  async #attempt(messages: readonly ChatMessage[], signal: AbortSignal): Promise<string> {
    const { timeoutMs = 120_000 } = this.#options;
    await sleep(this.#resumeAt - Date.now(), signal);
    this.usage.numRequests++;
    let response: Response;
    let text: string;
    try {
      response = await fetch(this.#address, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(this.#apiKey ? { authorization: `Bearer ${this.#apiKey}` } : {}),
        },
        body: JSON.stringify(this.body(messages)),
        signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      });
      text = await response.text();
    } catch (error) {
      signal.throwIfAborted();
      throw new TransientError(this.#redact(reasonOf(error, timeoutMs)));
    }
    if (!response.ok) throw this.#refusal(response, text);
    const reply = parseReply(text);
    if (!reply) throw new TransientError(`expected choices[0].message, got ${this.#excerpt(text)}`);
    this.#count(messages, reply);
    return reply.content;
  }

  /** The error of a status other than 2xx. */
  #refusal({ status, headers }: Response, text: string): Error {
    // The body may repeat a part of the key, which redaction would miss.
    if (status === 401 || status === 403) {
      const key = this.#apiKey ? 'the key that was sent' : 'a request without a key';
      return new JudgeError(
        `${this.#address}: refuses ${key} (${status}), expected one that may use the model ${this.#options.model}`,
      );
    }
    const message = `${status} ${this.#excerpt(text)}`;
    // OpenAI answers 429 for an account without credit.
    const isTransient =
      (status === 429 && !text.includes('insufficient_quota')) || status === 408 || status >= 500;
    if (!isTransient) return new JudgeError(`${this.#address}: refuses the request: ${message}`);
    const waitMs = retryAfterMs(headers);
    if (waitMs > MAX_WAIT_MS) {
      return new JudgeError(
        `${this.#address}: asks to wait ${Math.ceil(waitMs / 1000)} s, expected at most ${MAX_WAIT_MS / 1000} s; try again later`,
      );
    }
    // Delays all requests, not only this one.
    this.#resumeAt = Math.max(this.#resumeAt, Date.now() + waitMs);
    return new TransientError(message);
  }

  #count(messages: readonly ChatMessage[], { content, promptTokens, completionTokens }: Reply): void {
    const { usage } = this;
    if (promptTokens === undefined || completionTokens === undefined) usage.numEstimated++;
    usage.promptTokens += promptTokens ?? estimateTokens(messages);
    usage.completionTokens += completionTokens ?? estimateTokens([{ content }]);
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

/** Estimated tokens of texts: four characters each. */
export function estimateTokens(messages: readonly Pick<ChatMessage, 'content'>[]): number {
  return messages.reduce((sum, { content }) => sum + Math.ceil(content.length / 4), 0);
}

interface Reply {
  readonly content: string;
  readonly promptTokens?: number;
  readonly completionTokens?: number;
}

/** Parses the text of a response; undefined if it is not an answer. */
function parseReply(text: string): Reply | undefined {
  try {
    const { choices, usage } = JSON.parse(text);
    const { content } = choices[0].message;
    const count = (value: unknown) => (Number.isInteger(value) ? (value as number) : undefined);
    return {
      content: typeof content === 'string' ? content : '',
      promptTokens: count(usage?.prompt_tokens),
      completionTokens: count(usage?.completion_tokens),
    };
  } catch {
    return undefined;
  }
}

/** The message of an OpenAI error. */
function errorMessage(text: string): string | undefined {
  try {
    const { message } = JSON.parse(text).error;
    return typeof message === 'string' && message !== '' ? message : undefined;
  } catch {
    return undefined;
  }
}

function chatAddress(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const isHttp = parsed?.protocol === 'http:' || parsed?.protocol === 'https:';
  // A name and password in the address would appear in errors.
  if (!parsed || !isHttp || parsed.username || parsed.password) {
    throw new JudgeError(
      'judge: the address is wrong, expected one like https://host/v1, without name and password',
    );
  }
  parsed.pathname = `${parsed.pathname.replace(/\/(chat\/completions\/?)?$/, '')}/chat/completions`;
  return parsed.href;
}

function usableKey(apiKey: string | undefined): string | undefined {
  const key = apiKey?.trim();
  if (key && !/^[\x21-\x7e]+$/.test(key)) {
    throw new JudgeError('judge: the key has invalid characters, expected printable ASCII without spaces');
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

/** The wait that the endpoint requests, in seconds or as a date (RFC 9110, 10.2.3); 0 without the header. */
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
