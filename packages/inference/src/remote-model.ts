/** Implements {@link LanguageModel} over a server that speaks OpenAI's completions API. */
import type {
  ChatFormat,
  Endpoint,
  GenerateRequest,
  Generation,
  LanguageModel,
  Score,
  ScoreRequest,
} from '@meap/evals';
import { loadTokenizer } from '@meap/token-dataset';
import { z } from 'zod';
import { chatFormatOf, openChatTemplate } from './chat-format.ts';
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

const DEFAULT_CONTEXT = 2048;

const COMPLETIONS = 'completions';

const CHAT_ONLY = 'for a server that only has chat completions, use --endpoint-api chat';

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
 * @throws EndpointError for a server that cannot be reached or does not know the model; errors of the tokenizer
 */
export async function openRemoteModel(options: RemoteModelOptions): Promise<RemoteModel> {
  const { model, contextLength } = options;
  const folder = await findTokenizer(options.tokenizer, options);
  const tokenizer = loadTokenizer(folder);
  const template = options.chatTemplate && openChatTemplate(folder, tokenizer, options.chatTemplate);
  const endpoint = await openEndpoint(options);
  const { max_model_len: length = DEFAULT_CONTEXT } = await endpoint.send({
    path: `models/${model}`,
    expected: 'a model',
    ifMissing: CHAT_ONLY,
    read: (json) => models.safeParse(json).data,
  });
  const texts = await openTextTokenizer(folder, tokenizer);
  const chat: ChatFormat | undefined = template ? chatFormatOf(template, texts) : undefined;
  return {
    name: model,
    fingerprint: await fingerprintOf([folder], { endpoint: endpoint.address, model }),
    // A scored prompt has one token more, and the server adds one.
    contextLength: (contextLength ?? length) - 2,
    tokenizer: texts,
    ...(chat && { chat }),
    score: (requests, { signal } = {}) =>
      Promise.all(requests.map((request) => score(endpoint, model, request, signal))),
    generate: (requests, { signal } = {}) => {
      const ids = (text: string) => texts.encode(text);
      return Promise.all(requests.map((request) => generate(endpoint, model, ids, request, signal)));
    },
    dispose: () => texts.dispose(),
  };
}

/** The server of a model. */
async function openEndpoint({ endpoint: url, apiKey }: RemoteModelOptions): Promise<Endpoint> {
  // Loaded only here: most programs need no server.
  const { Endpoint } = await import('@meap/evals');
  return new Endpoint({ url, apiKey, concurrency: CONCURRENCY }, 'endpoint');
}

async function complete(
  endpoint: Endpoint,
  body: Readonly<Record<string, unknown>>,
  signal: AbortSignal | undefined,
): Promise<Choice> {
  const read = (json: unknown) => completion.safeParse(json).data?.choices[0];
  return endpoint.send({
    path: COMPLETIONS,
    body,
    expected: 'choices[0].text',
    ifMissing: CHAT_ONLY,
    read,
    signal,
  });
}

async function score(
  endpoint: Endpoint,
  model: string,
  { context, continuation }: ScoreRequest,
  signal: AbortSignal | undefined,
): Promise<Score> {
  const prompt = [...context, ...continuation];
  // Most servers generate at least one token, which is not read.
  const body = { model, prompt, max_tokens: 1, temperature: 0, echo: true, logprobs: 1 };
  const { logprobs } = await complete(endpoint, body, signal);
  const [values, tops] = [logprobs?.token_logprobs, logprobs?.top_logprobs];
  if (!values || !tops) {
    throw endpoint.error(
      COMPLETIONS,
      'returned no log-probabilities of the prompt; scores need `echo` with `logprobs`',
    );
  }
  if (values.length < prompt.length || tops.length < prompt.length) {
    throw endpoint.error(
      COMPLETIONS,
      `returned ${values.length} log-probabilities for ${prompt.length} tokens; give the tokenizer of its model`,
    );
  }
  let [logLikelihood, isGreedy] = [0, true];
  for (let at = context.length; at < prompt.length; at++) {
    const value = values[at];
    if (value === null)
      throw endpoint.error(COMPLETIONS, `returned no log-probability of token ${at} of the prompt`);
    logLikelihood += value;
    if (Math.max(...Object.values(tops[at] ?? {})) > value) isGreedy = false;
  }
  return { logLikelihood, isGreedy };
}

async function generate(
  endpoint: Endpoint,
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
  const { text, finish_reason: reason } = await complete(endpoint, body, signal);
  return { text, ids: encode(text), finish: reason === 'length' ? 'length' : 'stop' };
}
