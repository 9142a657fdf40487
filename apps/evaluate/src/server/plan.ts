/** A request to an endpoint, worked out: what the engine is to compute, and how the answer is to be worded. */
import { randomInt } from 'node:crypto';
import type { Conversation, Tokenizer } from '@meap/token-dataset';
import type { TokenTexts } from '../token-texts.ts';
import type { Piece, PlacedToken } from './answer-pieces.ts';
import { ApiError } from './api-error.ts';
import type { SequenceRequest } from './completion-engine.ts';
import type { ChatFields, CompletionFields } from './request-fields.ts';
import type { FinishReason } from './token-stream.ts';

/** What a request is worked out with. */
export interface Served {
  /** What clients call the model. */
  readonly name: string;
  readonly tokenizer: Tokenizer;
  readonly texts: TokenTexts;
  /** Rows of the model's embedding: ids are below it. */
  readonly vocabularySize: number;
  /** Most tokens of prompt and answer together. */
  readonly contextLength: number;
  /** Most answers to one request: more would never be taken. */
  readonly maxSequences: number;
  /** Ids that end a text. */
  readonly stopIds: readonly number[];
  /** Whether a prompt that is a text gets the tokenizer's BOS unless the request says otherwise. */
  readonly addSpecialTokens: boolean;
  /** Absent: the model has no chat template. */
  readonly chat?: ChatPrompts;
}

/** Turns messages into prompts. */
export interface ChatPrompts {
  /** Ids that end an answer, besides those that end a text. */
  readonly stopIds: readonly number[];
  /** Ids of a conversation and the header of its next answer. */
  encodePrompt(messages: Conversation): Promise<Int32Array>;
}

/** Tokens that an answer is billed by, where it is. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

/** A choice that is complete. */
interface Choice {
  readonly index: number;
  readonly text: string;
  readonly tokens: readonly PlacedToken[];
  readonly finish: FinishReason;
}

/** A request, ready to be computed. */
export interface Plan {
  readonly sequences: readonly SequenceRequest[];
  readonly numPromptTokens: number;
  readonly stops: readonly string[];
  /** By sequence: whether its text begins one. */
  readonly beginsText: readonly boolean[];
  readonly isStreamed: boolean;
  /** Whether a stream ends with the usage. */
  readonly includeUsage: boolean;
  readonly format: AnswerFormat;
}

/** How an endpoint words its answers. */
export interface AnswerFormat {
  /** Of the whole, ready for `choices`. */
  readonly body: Readonly<Record<string, unknown>>;
  /** Of a part of a stream. */
  readonly chunk: Readonly<Record<string, unknown>>;
  choice(choice: Choice): object;
  /** What a stream begins each choice with. */
  opening?(index: number): object;
  /** Of a piece of a stream; undefined where it would say nothing. */
  delta(piece: Piece): object;
}

/** @throws ApiError 404 for another model than the one served */
export function requireModel({ model }: CompletionFields | ChatFields, { name }: Served): void {
  if (model === undefined || model === name) return;
  throw new ApiError(404, `model: no '${model}' here, expected '${name}'`, {
    param: 'model',
    code: 'model_not_found',
  });
}

/** @throws ApiError 400 for stream_options without stream */
export function streaming({ stream = false, stream_options: options }: CompletionFields | ChatFields): {
  isStreamed: boolean;
  includeUsage: boolean;
} {
  if (options && !stream) {
    throw new ApiError(400, 'stream_options: got them without stream, expected stream true; leave them out', {
      param: 'stream_options',
    });
  }
  return { isStreamed: stream, includeUsage: options?.include_usage ?? false };
}

/** @throws ApiError 400 for more answers than the server could ever take on */
export function requireCount(numAnswers: number, { maxSequences }: Served, param: string): void {
  if (numAnswers <= maxSequences) return;
  throw new ApiError(
    400,
    `${param}: asks for ${numAnswers} answers, expected at most ${maxSequences}; ask for fewer`,
    { param },
  );
}

/** The sequences of a prompt, one for each of `n` answers, which differ in their seeds. */
export function sequencesOf(
  promptIds: readonly number[],
  fields: CompletionFields | ChatFields,
  rest: Pick<SequenceRequest, 'maxNewTokens' | 'stopIds' | 'numTop' | 'echo'>,
): SequenceRequest[] {
  const { n = 1, temperature = 1, top_p: topP = 1, seed = randomInt(2 ** 47) } = fields;
  return Array.from({ length: n }, (_, i) => {
    // Beyond 2^53 a sum would be rounded, and two answers be drawn alike.
    const ownSeed = seed < 2 ** 53 - i ? seed + i : seed - (2 ** 53 - i);
    return { promptIds, temperature, topP, seed: ownSeed, ...rest };
  });
}

/**
 * How many tokens to add to a prompt.
 *
 * @param wanted at most the room left when undefined
 * @throws ApiError 400 where prompt and answer exceed the context
 */
export function roomFor(
  numPromptTokens: number,
  wanted: number | undefined,
  { contextLength }: Served,
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
export function requireIds(ids: ArrayLike<number>, { vocabularySize }: Served, param: string): void {
  for (let i = 0; i < ids.length; i++) {
    if (ids[i] >= 0 && ids[i] < vocabularySize) continue;
    throw new ApiError(400, `${param}: got token id ${ids[i]}, expected ids below ${vocabularySize}`, {
      param,
    });
  }
}
