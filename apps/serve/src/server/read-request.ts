/**
 * Parses requests to validated fields and token ids.
 *
 * This runs in a separate process (`request-worker.ts`), since hostile input can make parsing, the chat template and
 * tokenization slow. Text that certainly exceeds the context is refused before it is tokenized.
 */
import { anyObject, type ChatPrompts, type Grammar, SchemaError, schemaGrammar } from '@meap/inference';
import type { Tokenizer } from '@meap/token-dataset';
import { ApiError, invalidField, modelNotFound } from './api-error.ts';
import { readBody } from './read-body.ts';
import { conversationOf, readTools, type ToolUse } from './read-tools.ts';
import { type ChatFields, type CompletionFields, chatFields, completionFields } from './request-fields.ts';
import { asResponseError, type ReadResponse, readResponse } from './response-fields.ts';
import { maxBytesPerToken } from './token-bound.ts';

/** The model's properties and the server's limits. */
export interface ReadSettings {
  /** The name of the model in the API. */
  readonly name: string;
  /** Number of the model's ids. */
  readonly vocabularySize: number;
  /** The same of its adapters, by their names in the API. */
  readonly adapters?: Readonly<Record<string, number>>;
  /** Maximum tokens of prompt and answer together. */
  readonly contextLength: number;
  /** Maximum number of answers to a request. */
  readonly maxSequences: number;
  /** Whether text prompts get the tokenizer's BOS by default. */
  readonly addSpecialTokens: boolean;
}

/** A prompt that fits the context. */
export interface Prompt {
  /** At least one. */
  readonly ids: readonly number[];
  readonly maxNewTokens: number;
}

/** A validated and tokenized request. */
interface ReadRequest<Fields> {
  readonly fields: Fields;
  readonly prompts: readonly Prompt[];
  /** Restricts the answers. */
  readonly grammar?: Grammar;
  /** Set if answers may contain tool calls. */
  readonly tools?: ToolUse;
}

export type CompletionRequest = ReadRequest<Omit<CompletionFields, 'prompt' | 'response_format'>>;

export type ChatRequest = ReadRequest<Omit<ChatFields, 'messages' | 'response_format' | 'tools'>>;

/** A request of `/v1/responses`. */
export type ResponseRequest = ChatRequest & Pick<ReadResponse, 'repeated'>;

export type Endpoint = 'completion' | 'chat' | 'response';

// The default of OpenAI's API.
const DEFAULT_MAX_TOKENS = 16;
// Text with more bytes per token of the context is first tokenized in windows.
const TYPICAL_BYTES_PER_TOKEN = 6;
const WINDOW = 64 * 1024;

/**
 * Parses a body with the reader of the model that it names.
 *
 * @param readers by the names of adapters; that of the model itself has no name
 * @throws ApiError 400, 404
 */
export function readRequest(
  readers: ReadonlyMap<string | undefined, RequestReader>,
  endpoint: Endpoint,
  body: Uint8Array,
  settings: ReadSettings,
): Promise<CompletionRequest | ChatRequest | ResponseRequest> {
  const readerOf = (name: string) => readers.get(name) ?? readers.get(undefined)!;
  if (endpoint === 'chat') {
    const request = readBody(chatFields, body);
    const own = settingsOf(request, settings);
    return readerOf(own.name).chat(request, own);
  }
  if (endpoint === 'response') return readAsChat(readerOf, body, settings);
  const request = readBody(completionFields, body);
  const own = settingsOf(request, settings);
  return readerOf(own.name).completion(request, own);
}

async function readAsChat(
  readerOf: (name: string) => RequestReader,
  body: Uint8Array,
  settings: ReadSettings,
): Promise<ResponseRequest> {
  try {
    const { fields, repeated } = readResponse(body);
    const own = settingsOf(fields, settings);
    return { ...(await readerOf(own.name).chat(fields, own)), repeated };
  } catch (error) {
    throw asResponseError(error);
  }
}

/** The settings of the requested model. @throws ApiError 404 for another one */
function settingsOf({ model }: { model?: string }, settings: ReadSettings): ReadSettings {
  const { name, adapters = {} } = settings;
  if (model === undefined || model === name) return settings;
  if (!Object.hasOwn(adapters, model)) throw modelNotFound(model, [name, ...Object.keys(adapters)], 'model');
  return { ...settings, name: model, vocabularySize: adapters[model] };
}

/** Parses requests for a tokenizer and chat template. */
export class RequestReader {
  readonly #tokenizer: Tokenizer;
  readonly #chat: ChatPrompts | undefined;
  readonly #maxBytesPerToken: number;

  constructor(tokenizer: Tokenizer, chat: ChatPrompts | undefined) {
    this.#tokenizer = tokenizer;
    this.#chat = chat;
    this.#maxBytesPerToken = maxBytesPerToken(tokenizer.json);
  }

  /**
   * Checks and tokenizes a request of `/v1/completions`.
   *
   * @throws ApiError 400
   */
  async completion(
    { prompt, response_format: format, ...fields }: CompletionFields,
    settings: ReadSettings,
  ): Promise<CompletionRequest> {
    requireStream(fields);
    requireBias(fields, settings);
    const { n = 1, best_of: bestOf = n, max_tokens: requested } = fields;
    if (bestOf !== n) {
      throw invalidField('best_of', `not supported, got ${bestOf}, expected n (${n}); omit it`);
    }
    const inputs = promptInputs(prompt);
    requireCount(inputs.length * n, settings, inputs.length > 1 ? 'prompt' : 'n');
    const { add_special_tokens: addSpecialTokens = settings.addSpecialTokens } = fields;
    const prompts: Prompt[] = [];
    for (const input of inputs) {
      const ids = typeof input === 'string' ? await this.#encode(input, addSpecialTokens, settings) : input;
      if (ids.length === 0) throw invalidField('prompt', 'got no tokens, expected at least one');
      const maxNewTokens = maxNewTokensFor(ids.length, requested, settings, {
        param: 'prompt',
        defaultMax: DEFAULT_MAX_TOKENS,
      });
      requireIds(ids, settings, 'prompt');
      prompts.push({ ids, maxNewTokens });
    }
    return { fields, prompts, grammar: grammarOf(format) };
  }

  /**
   * Checks and tokenizes a request of `/v1/chat/completions`.
   *
   * @throws ApiError 400
   */
  async chat(
    { messages, response_format: format, tools = [], ...fields }: ChatFields,
    settings: ReadSettings,
  ): Promise<ChatRequest> {
    requireStream(fields);
    requireBias(fields, settings);
    if (fields.top_logprobs !== undefined && !fields.logprobs) {
      throw invalidField('top_logprobs', 'got it without logprobs, expected logprobs: true');
    }
    requireCount(fields.n ?? 1, settings, 'n');
    const requested = maxTokens(fields);
    const use = readTools(tools, { fields, format, form: this.#chat?.toolCallForm });
    const ids = await this.#encodeMessages(messages, use ? tools : [], settings);
    requireIds(ids, settings, 'messages');
    const maxNewTokens = maxNewTokensFor(ids.length, requested, settings, { param: 'messages' });
    return {
      fields,
      prompts: [{ ids, maxNewTokens }],
      grammar: use?.grammar ?? grammarOf(format),
      tools: use?.tools,
    };
  }

  async #encode(text: string, addSpecialTokens: boolean, settings: ReadSettings): Promise<number[]> {
    await this.#requireFits(text, settings, 'prompt');
    let ids: number[];
    try {
      ids = Array.from(await this.#tokenizer.encode(text, { addSpecialTokens }));
    } catch (error) {
      throw invalidField('prompt', `cannot be tokenized: ${shortReason(error)}`);
    }
    const bos = this.#tokenizer.bosTokenId;
    // Text that contains its own BOS does not get a second one.
    return addSpecialTokens && ids[0] === bos && ids[1] === bos ? ids.slice(1) : ids;
  }

  async #encodeMessages(
    messages: ChatFields['messages'],
    tools: NonNullable<ChatFields['tools']>,
    settings: ReadSettings,
  ): Promise<number[]> {
    if (!this.#chat) {
      const problem =
        'the model has no chat template; use /v1/completions, or start the server with --chat-template';
      throw invalidField('messages', problem);
    }
    const conversation = conversationOf(messages, tools);
    try {
      const length = JSON.stringify([conversation, tools]).length;
      // The rendered template may be shorter than the messages.
      if (length > TYPICAL_BYTES_PER_TOKEN * settings.contextLength) {
        await this.#requireFits(this.#chat.render(conversation), settings, 'messages');
      }
      return Array.from(await this.#chat.encodePrompt(conversation));
    } catch (error) {
      if (error instanceof ApiError) throw error;
      // Templates raise errors, such as for roles that do not alternate.
      throw invalidField('messages', shortReason(error));
    }
  }

  /**
   * Refuses a text that certainly exceeds the context, without tokenizing all of it.
   *
   * @throws ApiError 400
   */
  async #requireFits(text: string, { contextLength }: ReadSettings, param: string): Promise<void> {
    const refuse = (amount: string) => {
      const problem = `${amount} exceed the context of ${contextLength} tokens; shorten the prompt`;
      throw invalidField(param, problem, 'context_length_exceeded');
    };
    const maxBytes = contextLength * this.#maxBytesPerToken;
    // A UTF-16 code unit has at most three bytes.
    if (text.length * 3 > maxBytes) {
      const numBytes = Buffer.byteLength(text);
      if (numBytes > maxBytes) refuse(`${numBytes} bytes, at most ${this.#maxBytesPerToken} per token,`);
    }
    if (text.length <= Math.max(WINDOW, TYPICAL_BYTES_PER_TOKEN * contextLength)) return;
    // Windows change the tokens at their borders only; twice the context is a safe bound.
    let numTokens = 0;
    for (let at = 0; at < text.length; at += WINDOW) {
      const part = text.slice(at, at + WINDOW);
      numTokens += (await this.#tokenizer.encode(part, { addSpecialTokens: false })).length;
      if (numTokens > 2 * contextLength) refuse(`more than ${2 * contextLength} tokens`);
    }
  }
}

/**
 * Returns the grammar of a response format.
 *
 * @throws ApiError 400 for a schema that is invalid or not supported
 */
function grammarOf(format: CompletionFields['response_format']): Grammar | undefined {
  if (format === undefined || format.type === 'text') return undefined;
  if (format.type === 'json_object') return anyObject();
  try {
    return schemaGrammar(format.json_schema.schema);
  } catch (error) {
    if (!(error instanceof SchemaError)) throw error;
    const path = error.path === '' ? '' : `.${error.path.slice(0, 300)}`;
    throw invalidField(`response_format.json_schema.schema${path}`, error.message);
  }
}

/** @throws ApiError 400 for stream_options without stream */
function requireStream({
  stream,
  stream_options: options,
}: Pick<CompletionFields, 'stream' | 'stream_options'>): void {
  if (!options || stream) return;
  throw invalidField('stream_options', 'got it without stream, expected stream: true; omit it');
}

/** @throws ApiError 400 for the bias of an id without a logit */
function requireBias(
  { logit_bias: bias = {} }: Pick<CompletionFields, 'logit_bias'>,
  settings: ReadSettings,
): void {
  const isId = (id: string) => /^\d{1,15}$/.test(id) && Number(id) < settings.vocabularySize;
  const wrong = Object.keys(bias).find((id) => !isId(id));
  if (wrong === undefined) return;
  const expected = `ids from 0 to ${settings.vocabularySize - 1}`;
  throw invalidField(
    'logit_bias',
    `got token id ${JSON.stringify(wrong.slice(0, 60))}, expected ${expected}`,
  );
}

/** @throws ApiError 400 for more answers than the server's capacity */
function requireCount(numAnswers: number, { maxSequences }: ReadSettings, param: string): void {
  if (numAnswers <= maxSequences) return;
  throw invalidField(param, `got ${numAnswers} answers, expected at most ${maxSequences}; request fewer`);
}

/**
 * Returns the maximum number of new tokens.
 *
 * @param requested the rest of the context if undefined
 * @throws ApiError 400 if prompt and answer exceed the context
 */
function maxNewTokensFor(
  numPromptTokens: number,
  requested: number | undefined,
  { contextLength }: ReadSettings,
  { param, defaultMax = Number.POSITIVE_INFINITY }: { param: string; defaultMax?: number },
): number {
  const room = contextLength - numPromptTokens;
  if (room < (requested ?? 1)) {
    const problem =
      `${numPromptTokens} tokens and ${requested ?? 'at least 1'} new exceed the context of ${contextLength}; ` +
      'shorten the prompt or lower max_tokens';
    throw invalidField(param, problem, 'context_length_exceeded');
  }
  return requested ?? Math.min(room, defaultMax);
}

/** @throws ApiError 400 for an id without an embedding */
function requireIds(ids: readonly number[], { vocabularySize }: ReadSettings, param: string): void {
  for (const id of ids) {
    if (id >= 0 && id < vocabularySize) continue;
    throw invalidField(param, `got token id ${id}, expected ids from 0 to ${vocabularySize - 1}`);
  }
}

/** Returns the texts or token ids of a prompt. */
function promptInputs(prompt: unknown): (string | number[])[] {
  if (typeof prompt === 'string') return [prompt];
  const isIds = (value: unknown): value is number[] => Array.isArray(value) && value.every(Number.isInteger);
  if (Array.isArray(prompt) && prompt.length > 0) {
    if (isIds(prompt)) return [prompt];
    if (prompt.every((item) => typeof item === 'string')) return prompt;
    if (prompt.every(isIds)) return prompt;
  }
  const expected = 'a string, a list of strings, a list of token ids, or a list of such lists';
  throw invalidField('prompt', `expected ${expected}`);
}

function maxTokens(fields: Omit<ChatFields, 'messages' | 'response_format' | 'tools'>): number | undefined {
  const { max_tokens: old, max_completion_tokens: current } = fields;
  if (old === undefined || current === undefined || old === current) return current ?? old;
  throw invalidField(
    'max_tokens',
    `got ${old}, and ${current} for max_completion_tokens, expected only one; omit it`,
  );
}

/** Returns the first line of an error, at most 500 characters. */
function shortReason(error: unknown): string {
  const [line] = String((error as Error).message).split('\n', 1);
  return line.length > 500 ? `${line.slice(0, 497)}...` : line;
}
