/** The plan of a request: the sequences to compute, and the format of the answer. */
import { randomInt } from 'node:crypto';
import {
  type ConstrainedTexts,
  laterSeed,
  type OpenGrammar,
  type TokenTexts,
  VocabularyError,
} from '@meap/inference';
import type { OffsetToken, Piece } from './answer-pieces.ts';
import { invalidField } from './api-error.ts';
import type { DecodedModel, SequenceRequest } from './completion-engine.ts';
import type { ChatRequest, CompletionRequest, Prompt } from './read-request.ts';
import type { FinishReason } from './token-stream.ts';

export interface ServedModel extends DecodedModel {
  /** The name of the model in the API. */
  readonly name: string;
  readonly texts: TokenTexts;
  readonly constrained: ConstrainedTexts;
  /** Ids that end a text. */
  readonly stopIds: readonly number[];
  /** Additional ids that end an answer in a chat. */
  readonly chatStopIds: readonly number[];
}

/** Token counts of an answer. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

interface Choice {
  readonly index: number;
  readonly text: string;
  readonly tokens: readonly OffsetToken[];
  readonly finish: FinishReason;
}

/** A request, ready to compute. */
export interface Plan {
  readonly sequences: readonly SequenceRequest[];
  readonly numPromptTokens: number;
  readonly stops: readonly string[];
  /** For each sequence, whether its first token starts a text. */
  readonly beginsText: readonly boolean[];
  readonly isStreamed: boolean;
  /** Whether the stream ends with the usage. */
  readonly includeUsage: boolean;
  readonly format: AnswerFormat;
}

export interface AnswerFormat {
  /** The body of a complete answer, without `choices`. */
  readonly body: Readonly<Record<string, unknown>>;
  /** An event of a stream, without `choices`. */
  readonly chunk: Readonly<Record<string, unknown>>;
  choice(choice: Choice): object;
  /** The first event of each choice in a stream. */
  opening?(index: number): object;
  /** A piece of a choice in a stream. */
  delta(piece: Piece): object;
}

/** Returns the stream options of a request. */
export function streaming({ stream = false, stream_options: options }: Sampling): {
  isStreamed: boolean;
  includeUsage: boolean;
} {
  return { isStreamed: stream, includeUsage: options?.include_usage ?? false };
}

type Sampling = CompletionRequest['fields'] | ChatRequest['fields'];

/**
 * Opens the grammar of a request, if it has one.
 *
 * @returns undefined also where only optional tool calls have a grammar that the model's vocabulary cannot write
 * @throws ApiError 400 if the model's vocabulary cannot write it
 */
export async function openGrammar(
  request: CompletionRequest | ChatRequest,
  { constrained }: ServedModel,
): Promise<OpenGrammar | undefined> {
  const { grammar, tools } = { tools: undefined, ...request };
  try {
    return grammar && (await constrained.open(grammar));
  } catch (error) {
    if (!(error instanceof VocabularyError)) throw error;
    if (tools && !tools.isRequired) return undefined;
    throw invalidField(tools ? 'tool_choice' : 'response_format', `${error.message}; omit it`);
  }
}

/** Returns a sequence for each of the `n` answers to a prompt, with different seeds. */
export function sequencesOf(
  { ids: promptIds, maxNewTokens }: Prompt,
  fields: Sampling,
  rest: Pick<SequenceRequest, 'stopIds' | 'numTop' | 'echo'>,
  { grammar, beginsText }: { grammar: OpenGrammar | undefined; beginsText: boolean },
): SequenceRequest[] {
  const { n = 1, temperature = 1, top_p: topP = 1, seed = randomInt(2 ** 47) } = fields;
  const sampling = {
    ...{ temperature, topP, topK: fields.top_k, minP: fields.min_p, logitBias: fields.logit_bias },
    repetitionPenalty: fields.repetition_penalty,
    frequencyPenalty: fields.frequency_penalty,
    presencePenalty: fields.presence_penalty,
  };
  return Array.from({ length: n }, (_, i) => ({
    ...{ promptIds, maxNewTokens, ...sampling, seed: laterSeed(seed, i) },
    ...rest,
    ...(grammar && { constraint: grammar.start({ stopIds: rest.stopIds, beginsText }) }),
  }));
}
