/** Implements {@link LanguageModel} over a server that speaks OpenAI's completions API. */
import type {
  ChatFormat,
  GenerateRequest,
  Generation,
  LanguageModel,
  Score,
  ScoreRequest,
} from '@meap/evals';
import { loadTokenizer } from '@meap/token-dataset';
import pRetry, { AbortError } from 'p-retry';
import { z } from 'zod';
import { chatFormatOf, openChatTemplate } from './chat-format.ts';
import { ModelError } from './errors.ts';
import { type FindModelOptions, findTokenizer } from './find-model.ts';
import { fingerprintOf } from './fingerprint.ts';
import { openTextTokenizer } from './text-tokenizer.ts';

/** Options of {@link openRemoteModel}. */
export interface RemoteModelOptions extends FindModelOptions {
  /** Address of the API up to its version, such as `http://127.0.0.1:8000/v1`. */
  endpoint: string;
  /** Name of the model there. */
  model: string;
  /** Folder or name of the Hub with the model's tokenizer: prompts are sent as token ids. */
  tokenizer: string;
  /** As in `openLanguageModel`. */
  chatTemplate?: true | string;
  /** Maximum tokens of a sequence; default: what the server says (`max_model_len`), else 2048. */
  contextLength?: number;
  /** Sent as a bearer token. */
  apiKey?: string;
}

/** A model behind a server: it scores and generates. */
export interface RemoteModel
  extends Required<Pick<LanguageModel, 'score' | 'generate'>>,
    Omit<LanguageModel, 'score' | 'generate' | 'attention'> {
  /** Ends the thread of the tokenizer. */
  dispose(): void;
}

/** Requests at once; servers batch them. */
const CONCURRENCY = 8;

/** Tries after a first failure that may pass. */
const RETRIES = 5;

const DEFAULT_CONTEXT = 2048;

const models = z.object({ max_model_len: z.int().positive().optional() });

const completion = z.object({
  choices: z
    .array(
      z.object({
        text: z.string(),
        finish_reason: z.string().nullish(),
        logprobs: z
          .object({
            token_logprobs: z.array(z.number().nullable()),
            top_logprobs: z.array(z.record(z.string(), z.number()).nullable()).nullish(),
          })
          .nullish(),
      }),
    )
    .min(1),
});

type Choice = z.output<typeof completion>['choices'][number];

/**
 * Opens a model of a server. Scores need a server that returns the log-probabilities of a prompt (`echo` with `logprobs`),
 * such as meap-serve or vLLM.
 *
 * The fingerprint names address, model and tokenizer: answers in a cache are those of the weights that the server had.
 *
 * @throws ModelError for a server that cannot be reached or does not know the model; errors of the tokenizer
 */
export async function openRemoteModel(options: RemoteModelOptions): Promise<RemoteModel> {
  const { endpoint, model, contextLength } = options;
  const folder = await findTokenizer(options.tokenizer, options);
  const tokenizer = loadTokenizer(folder);
  const template = options.chatTemplate && openChatTemplate(folder, tokenizer, options.chatTemplate);
  const server = new Server(endpoint, options.apiKey);
  const { max_model_len: length = DEFAULT_CONTEXT } = await server.get(`models/${model}`, models);
  const texts = await openTextTokenizer(folder, tokenizer);
  const chat: ChatFormat | undefined = template ? chatFormatOf(template, texts) : undefined;
  return {
    name: model,
    fingerprint: await fingerprintOf([folder], { endpoint, model }),
    // A scored prompt has one token more, and the server adds one.
    contextLength: (contextLength ?? length) - 2,
    tokenizer: texts,
    ...(chat && { chat }),
    score: (requests, { signal } = {}) =>
      server.all(requests, (request) => score(server, model, request, signal), signal),
    generate: (requests, { signal } = {}) => {
      const ids = (text: string) => texts.encode(text);
      return server.all(requests, (request) => generate(server, model, ids, request, signal), signal);
    },
    dispose: () => texts.dispose(),
  };
}

async function score(
  server: Server,
  model: string,
  { context, continuation }: ScoreRequest,
  signal: AbortSignal | undefined,
): Promise<Score> {
  const prompt = [...context, ...continuation];
  // Most servers generate at least one token, which is not read.
  const body = { model, prompt, max_tokens: 1, temperature: 0, echo: true, logprobs: 1 };
  const { logprobs } = await server.complete(body, signal);
  const [values, tops] = [logprobs?.token_logprobs, logprobs?.top_logprobs];
  if (!values || !tops) {
    throw server.error('returned no log-probabilities of the prompt; scores need `echo` with `logprobs`');
  }
  if (values.length < prompt.length || tops.length < prompt.length) {
    throw server.error(
      `returned ${values.length} log-probabilities for ${prompt.length} tokens; give the tokenizer of its model`,
    );
  }
  let [logLikelihood, isGreedy] = [0, true];
  for (let at = context.length; at < prompt.length; at++) {
    const value = values[at];
    if (value === null) throw server.error(`returned no log-probability of token ${at} of the prompt`);
    logLikelihood += value;
    if (Math.max(...Object.values(tops[at] ?? {})) > value) isGreedy = false;
  }
  return { logLikelihood, isGreedy };
}

async function generate(
  server: Server,
  model: string,
  encode: (text: string) => readonly number[],
  { prompt, maxNewTokens, stop, temperature = 0, seed }: GenerateRequest,
  signal: AbortSignal | undefined,
): Promise<Generation> {
  const body = {
    ...{ model, prompt, max_tokens: maxNewTokens, temperature },
    ...(stop && stop.length > 0 && { stop }),
    ...(temperature > 0 && { seed }),
  };
  const { text, finish_reason: reason } = await server.complete(body, signal);
  return { text, ids: encode(text), finish: reason === 'length' ? 'length' : 'stop' };
}

/** Sends requests to a server, again where a failure may pass. */
class Server {
  readonly #endpoint: string;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(endpoint: string, apiKey: string | undefined) {
    if (!/^https?:\/\/[^/]+/.test(endpoint)) {
      throw new ModelError(
        `endpoint: got ${JSON.stringify(endpoint)}, expected an address such as http://127.0.0.1:8000/v1`,
      );
    }
    this.#endpoint = endpoint.replace(/\/+$/, '');
    this.#headers = {
      'content-type': 'application/json',
      ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
    };
  }

  error(problem: string, cause?: unknown): ModelError {
    return new ModelError(`${this.#endpoint}: ${problem}`, { cause });
  }

  get<T>(path: string, schema: z.ZodType<T>): Promise<T> {
    return this.#send(path, { method: 'GET' }, schema, 0);
  }

  async complete(body: object, signal: AbortSignal | undefined): Promise<Choice> {
    const request = { method: 'POST', body: JSON.stringify(body), signal };
    return (await this.#send('completions', request, completion, RETRIES)).choices[0];
  }

  /** Answers to all requests, some at once; none is sent after the first error. */
  async all<In, Out>(
    requests: readonly In[],
    answer: (request: In) => Promise<Out>,
    signal: AbortSignal | undefined,
  ): Promise<Out[]> {
    const answers: Out[] = new Array(requests.length);
    let [next, hasFailed] = [0, false];
    const worker = async () => {
      while (next < requests.length && !hasFailed) {
        signal?.throwIfAborted();
        const index = next++;
        answers[index] = await answer(requests[index]).catch((error) => {
          hasFailed = true;
          throw error;
        });
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, worker));
    return answers;
  }

  #send<T>(path: string, init: RequestInit, schema: z.ZodType<T>, retries: number): Promise<T> {
    const { signal } = init;
    return pRetry(
      async () => {
        const response = await fetch(`${this.#endpoint}/${path}`, { ...init, headers: this.#headers }).catch(
          (error: Error) => {
            signal?.throwIfAborted();
            const reason = (error.cause as Error | undefined)?.message || error.message;
            throw this.error(`cannot be reached: ${reason}; start the server, or correct the address`, error);
          },
        );
        const text = await response.text();
        if (!response.ok) {
          const error = this.error(describeFailure(response.status, text, path));
          // Overload and faults of the server may pass.
          throw response.status === 429 || response.status >= 500 ? error : new AbortError(error);
        }
        const parsed = schema.safeParse(parseJson(text));
        if (parsed.success) return parsed.data;
        throw new AbortError(
          this.error(`the answer to ${path} is not that of OpenAI's API: ${brief(text)}; check the address`),
        );
      },
      { retries, minTimeout: 500, signal: signal ?? undefined },
    );
  }
}

function describeFailure(status: number, text: string, path: string): string {
  const { error } = (parseJson(text) ?? {}) as { error?: { message?: unknown } };
  const message = typeof error?.message === 'string' ? error.message : brief(text);
  if (status === 401 || status === 403) return `refused with ${status}: ${message}; set OPENAI_API_KEY`;
  return `${path} failed with ${status}: ${message}`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const brief = (text: string) => JSON.stringify(text.replace(/\s+/g, ' ').slice(0, 200));
