/** A request to an endpoint, worked out: what the engine is to compute, and how the answer is to be worded. */
import { randomInt } from 'node:crypto';
import type { TokenTexts } from '@meap/inference';
import type { Piece, PlacedToken } from './answer-pieces.ts';
import type { SequenceRequest } from './completion-engine.ts';
import type { ChatRequest, CompletionRequest, Prompt } from './read-request.ts';
import type { FinishReason } from './token-stream.ts';

/** What requests are answered with. */
export interface Served {
  /** What clients call the model. */
  readonly name: string;
  readonly texts: TokenTexts;
  /** Ids that end a text. */
  readonly stopIds: readonly number[];
  /** Ids that end an answer in a chat, besides those that end a text. */
  readonly chatStopIds: readonly number[];
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

/** What a stream is to show. */
export function streaming({ stream = false, stream_options: options }: Sampling): {
  isStreamed: boolean;
  includeUsage: boolean;
} {
  return { isStreamed: stream, includeUsage: options?.include_usage ?? false };
}

type Sampling = CompletionRequest['fields'] | ChatRequest['fields'];

/** The sequences of a prompt, one for each of `n` answers, which differ in their seeds. */
export function sequencesOf(
  { ids: promptIds, maxNewTokens }: Prompt,
  fields: Sampling,
  rest: Pick<SequenceRequest, 'stopIds' | 'numTop' | 'echo'>,
): SequenceRequest[] {
  const { n = 1, temperature = 1, top_p: topP = 1, seed = randomInt(2 ** 47) } = fields;
  return Array.from({ length: n }, (_, i) => {
    // Beyond 2^53 a sum would be rounded, and two answers be drawn alike.
    const ownSeed = seed < 2 ** 53 - i ? seed + i : seed - (2 ** 53 - i);
    return { promptIds, maxNewTokens, temperature, topP, seed: ownSeed, ...rest };
  });
}
