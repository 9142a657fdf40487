/**
 * From the bytes of a request to checked fields and token ids.
 *
 * All that a client can make long is done here, in a process of its own (`request-worker.ts`): parsing, the chat template,
 * tokenising. What cannot fit the context is refused before it is tokenised, wherever that can be told.
 */

import type { ChatPrompts } from '@meap/inference';
import type { Conversation, Tokenizer } from '@meap/token-dataset';
import { ApiError } from './api-error.ts';
import { readBody } from './read-body.ts';
import { type ChatFields, type CompletionFields, chatFields, completionFields } from './request-fields.ts';
import { maxBytesPerToken } from './token-bound.ts';

/** What the server allows. */
export interface ReadSettings {
  /** What clients call the model. */
  readonly name: string;
  /** Rows of the model's embedding: ids are below it. */
  readonly vocabularySize: number;
  /** Most tokens of prompt and answer together. */
  readonly contextLength: number;
  /** Most answers to one request: more would never be taken. */
  readonly maxSequences: number;
  /** Whether a prompt that is a text gets the tokenizer's BOS unless the request says otherwise. */
  readonly addSpecialTokens: boolean;
}

/** A prompt that fits. */
export interface Prompt {
  /** At least one. */
  readonly ids: readonly number[];
  readonly maxNewTokens: number;
}

/** A request, checked and tokenised. */
interface ReadRequest<Fields> {
  readonly fields: Fields;
  readonly prompts: readonly Prompt[];
}

/** A completion without its prompt, which is in `prompts`. */
export type CompletionRequest = ReadRequest<Omit<CompletionFields, 'prompt'>>;

/** A chat without its messages, which are in `prompts`. */
export type ChatRequest = ReadRequest<Omit<ChatFields, 'messages'>>;

// OpenAI's default.
const DEFAULT_MAX_TOKENS = 16;
// A text of more bytes a token of the context is looked at in parts first; languages have fewer.
const LONG_TEXT = 6;
const WINDOW = 64 * 1024;

/** Reads requests for one tokenizer and chat template. */
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
   * Reads a body of `/v1/completions`.
   *
   * @throws ApiError 400, 404
   */
  async completion(body: Uint8Array, settings: ReadSettings): Promise<CompletionRequest> {
    const { prompt, ...fields } = readBody(completionFields, body);
    requireModel(fields, settings);
    requireStreamed(fields);
    const { n = 1, best_of: bestOf = n, max_tokens: wanted } = fields;
    if (bestOf !== n) {
      throw new ApiError(400, `best_of: is not supported, got ${bestOf}, expected n (${n}); leave it out`, {
        param: 'best_of',
      });
    }
    const inputs = promptInputs(prompt);
    requireCount(inputs.length * n, settings, inputs.length > 1 ? 'prompt' : 'n');
    const { add_special_tokens: addSpecialTokens = settings.addSpecialTokens } = fields;
    const prompts: Prompt[] = [];
    for (const input of inputs) {
      const ids = typeof input === 'string' ? await this.#encode(input, addSpecialTokens, settings) : input;
      if (ids.length === 0) {
        throw new ApiError(400, 'prompt: got no tokens, expected at least one', { param: 'prompt' });
      }
      const maxNewTokens = roomFor(ids.length, wanted, settings, {
        param: 'prompt',
        atMost: DEFAULT_MAX_TOKENS,
      });
      requireIds(ids, settings, 'prompt');
      prompts.push({ ids, maxNewTokens });
    }
    return { fields, prompts };
  }

  /**
   * Reads a body of `/v1/chat/completions`.
   *
   * @throws ApiError 400, 404
   */
  async chat(body: Uint8Array, settings: ReadSettings): Promise<ChatRequest> {
    const { messages, ...fields } = readBody(chatFields, body);
    requireModel(fields, settings);
    requireStreamed(fields);
    if (fields.top_logprobs !== undefined && !fields.logprobs) {
      throw new ApiError(400, 'top_logprobs: got it without logprobs, expected logprobs true', {
        param: 'top_logprobs',
      });
    }
    requireCount(fields.n ?? 1, settings, 'n');
    const wanted = maxTokens(fields);
    const ids = await this.#encodeMessages(messages, settings);
    requireIds(ids, settings, 'messages');
    const maxNewTokens = roomFor(ids.length, wanted, settings, { param: 'messages' });
    return { fields, prompts: [{ ids, maxNewTokens }] };
  }

  async #encode(text: string, addSpecialTokens: boolean, settings: ReadSettings): Promise<number[]> {
    await this.#requireFits(text, settings, 'prompt');
    let ids: number[];
    try {
      ids = Array.from(await this.#tokenizer.encode(text, { addSpecialTokens }));
    } catch (error) {
      throw new ApiError(400, `prompt: cannot be tokenised: ${shortReason(error)}`, { param: 'prompt' });
    }
    const bos = this.#tokenizer.bosTokenId;
    // A text that spells its BOS does not get a second one.
    return addSpecialTokens && ids[0] === bos && ids[1] === bos ? ids.slice(1) : ids;
  }

  async #encodeMessages(messages: ChatFields['messages'], settings: ReadSettings): Promise<number[]> {
    if (!this.#chat) {
      throw new ApiError(
        400,
        'messages: the model has no chat template; use /v1/completions, or serve with --chat-template',
        { param: 'messages' },
      );
    }
    const roles = { system: 'system', developer: 'system', user: 'user', assistant: 'assistant' } as const;
    const conversation: Conversation = messages.map(({ role, content }) => ({ role: roles[role], content }));
    try {
      const length = conversation.reduce((sum, { content }) => sum + content.length, 0);
      // Only what the template makes of them is certain to be tokenised.
      if (length > LONG_TEXT * settings.contextLength) {
        await this.#requireFits(this.#chat.render(conversation), settings, 'messages');
      }
      return Array.from(await this.#chat.encodePrompt(conversation));
    } catch (error) {
      if (error instanceof ApiError) throw error;
      // Templates refuse what they were not written for: roles out of turn, an empty conversation.
      throw new ApiError(400, `messages: ${shortReason(error)}`, { param: 'messages' });
    }
  }

  /**
   * Refuses a text that is certain not to fit, without tokenising all of it.
   *
   * @throws ApiError 400
   */
  async #requireFits(text: string, { contextLength }: ReadSettings, param: string): Promise<void> {
    const refuse = (what: string) => {
      throw new ApiError(
        400,
        `${param}: ${what} exceed the context of ${contextLength} tokens; shorten the prompt`,
        { param, code: 'context_length_exceeded' },
      );
    };
    const most = contextLength * this.#maxBytesPerToken;
    // Each UTF-16 code unit is a byte at least, and three at most.
    if (text.length * 3 > most) {
      const numBytes = Buffer.byteLength(text);
      if (numBytes > most)
        refuse(`${numBytes} bytes, of which a token holds ${this.#maxBytesPerToken} at most,`);
    }
    if (text.length <= Math.max(WINDOW, LONG_TEXT * contextLength)) return;
    // Cut into parts a text becomes nearly the same tokens: twice the context is beyond any doubt.
    let numTokens = 0;
    for (let at = 0; at < text.length; at += WINDOW) {
      const part = text.slice(at, at + WINDOW);
      numTokens += (await this.#tokenizer.encode(part, { addSpecialTokens: false })).length;
      if (numTokens > 2 * contextLength) refuse(`more than ${2 * contextLength} tokens`);
    }
  }
}

/** @throws ApiError 404 for another model than the one served */
function requireModel({ model }: { model?: string }, { name }: ReadSettings): void {
  if (model === undefined || model === name) return;
  throw new ApiError(404, `model: no '${model.slice(0, 200)}' here, expected '${name}'`, {
    param: 'model',
    code: 'model_not_found',
  });
}

/** @throws ApiError 400 for stream_options without stream */
function requireStreamed({
  stream,
  stream_options: options,
}: Pick<CompletionFields, 'stream' | 'stream_options'>): void {
  if (!options || stream) return;
  throw new ApiError(400, 'stream_options: got them without stream, expected stream true; leave them out', {
    param: 'stream_options',
  });
}

/** @throws ApiError 400 for more answers than the server could ever take on */
function requireCount(numAnswers: number, { maxSequences }: ReadSettings, param: string): void {
  if (numAnswers <= maxSequences) return;
  throw new ApiError(
    400,
    `${param}: asks for ${numAnswers} answers, expected at most ${maxSequences}; ask for fewer`,
    { param },
  );
}

/**
 * How many tokens to add to a prompt.
 *
 * @param wanted at most the room left when undefined
 * @throws ApiError 400 where prompt and answer exceed the context
 */
function roomFor(
  numPromptTokens: number,
  wanted: number | undefined,
  { contextLength }: ReadSettings,
  { param, atMost = Number.POSITIVE_INFINITY }: { param: string; atMost?: number },
): number {
  const room = contextLength - numPromptTokens;
  if (room < (wanted ?? 1)) {
    throw new ApiError(
      400,
      `${param}: ${numPromptTokens} tokens, and ${wanted ?? 'at least 1'} to add, exceed the context of ` +
        `${contextLength}; shorten the prompt or lower max_tokens`,
      { param, code: 'context_length_exceeded' },
    );
  }
  return wanted ?? Math.min(room, atMost);
}

/** @throws ApiError 400 for an id that the model has no embedding of */
function requireIds(ids: readonly number[], { vocabularySize }: ReadSettings, param: string): void {
  for (const id of ids) {
    if (id >= 0 && id < vocabularySize) continue;
    throw new ApiError(400, `${param}: got token id ${id}, expected ids from 0 to ${vocabularySize - 1}`, {
      param,
    });
  }
}

/** A text, texts, ids, or lists of ids. */
function promptInputs(prompt: unknown): (string | number[])[] {
  if (typeof prompt === 'string') return [prompt];
  const isIds = (value: unknown): value is number[] => Array.isArray(value) && value.every(Number.isInteger);
  if (Array.isArray(prompt) && prompt.length > 0) {
    if (isIds(prompt)) return [prompt];
    if (prompt.every((item) => typeof item === 'string')) return prompt;
    if (prompt.every(isIds)) return prompt;
  }
  throw new ApiError(
    400,
    'prompt: expected a text, a list of texts, token ids, or a list of lists of token ids',
    { param: 'prompt' },
  );
}

function maxTokens(fields: Omit<ChatFields, 'messages'>): number | undefined {
  const { max_tokens: old, max_completion_tokens: wanted } = fields;
  if (old === undefined || wanted === undefined || old === wanted) return wanted ?? old;
  throw new ApiError(
    400,
    `max_tokens: got ${old} and max_completion_tokens ${wanted}, expected one; leave it out`,
    { param: 'max_tokens' },
  );
}

/** The first line, but not all the roles of a long conversation. */
function shortReason(error: unknown): string {
  const [line] = String((error as Error).message).split('\n', 1);
  return line.length > 500 ? `${line.slice(0, 497)}...` : line;
}
