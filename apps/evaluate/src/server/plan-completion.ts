import { randomUUID } from 'node:crypto';
import type { PlacedToken } from './answer-pieces.ts';
import { ApiError } from './api-error.ts';
import {
  type AnswerFormat,
  type Plan,
  requireCount,
  requireIds,
  requireModel,
  roomFor,
  type Served,
  sequencesOf,
  streaming,
} from './plan.ts';
import { type CompletionFields, completionFields, parseFields } from './request-fields.ts';

// OpenAI's default.
const DEFAULT_MAX_TOKENS = 16;

/**
 * Works out a body of `/v1/completions`.
 *
 * @throws ApiError 400, 404
 */
export async function planCompletion(body: unknown, served: Served): Promise<Plan> {
  const fields = parseFields(completionFields, body);
  requireModel(fields, served);
  const { n = 1, best_of: bestOf = n, echo = false, logprobs: numTop, max_tokens: wanted } = fields;
  if (bestOf !== n) {
    throw new ApiError(400, `best_of: is not supported, got ${bestOf}, expected n (${n}); leave it out`, {
      param: 'best_of',
    });
  }
  const prompts = await encodePrompts(fields, served);
  await served.texts.load(prompts.map((ids) => ids[ids.length - 1]));
  const sequences = prompts.map((promptIds) => {
    const limits = { param: 'prompt', atMost: DEFAULT_MAX_TOKENS };
    const maxNewTokens = roomFor(promptIds.length, wanted, served, limits);
    return sequencesOf(promptIds, fields, { maxNewTokens, numTop, echo, stopIds: served.stopIds });
  });
  return {
    sequences: sequences.flat(),
    numPromptTokens: prompts.reduce((sum, { length }) => sum + length, 0),
    stops: fields.stop ?? [],
    // Behind nothing but special tokens stands the beginning of a text.
    beginsText: sequences
      .flat()
      .map(({ promptIds }) => echo || served.texts.bytes(promptIds.at(-1)!).length === 0),
    ...streaming(fields),
    format: completionFormat(served.name, numTop !== undefined),
  };
}

async function encodePrompts({ prompt, ...fields }: CompletionFields, served: Served): Promise<number[][]> {
  const inputs = promptInputs(prompt);
  requireCount(inputs.length * (fields.n ?? 1), served, inputs.length > 1 ? 'prompt' : 'n');
  const texts = inputs.filter((input) => typeof input === 'string');
  const { add_special_tokens: addSpecialTokens = served.addSpecialTokens } = fields;
  const encoded = (await served.tokenizer.encodeBatch(texts, { addSpecialTokens })).values();
  const bos = served.tokenizer.bosTokenId;
  return inputs.map((input) => {
    let ids = typeof input === 'string' ? Array.from(encoded.next().value!) : input;
    // A text that spells its BOS does not get a second one.
    if (typeof input === 'string' && addSpecialTokens && ids[0] === bos && ids[1] === bos) ids = ids.slice(1);
    if (ids.length === 0)
      throw new ApiError(400, 'prompt: got no tokens, expected at least one', { param: 'prompt' });
    requireIds(ids, served, 'prompt');
    return ids;
  });
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
    {
      param: 'prompt',
    },
  );
}

function completionFormat(model: string, withLogprobs: boolean): AnswerFormat {
  const created = Math.floor(Date.now() / 1000);
  const body = { id: `cmpl-${randomUUID()}`, object: 'text_completion', created, model };
  const logprobs = (tokens: readonly PlacedToken[]) => (withLogprobs ? logprobsOf(tokens) : null);
  const word = ({ index, text, tokens, finish }: Parameters<AnswerFormat['delta']>[0]) => {
    return { index, text, logprobs: logprobs(tokens), finish_reason: finish ?? null };
  };
  return { body, chunk: body, choice: (choice) => word({ ...choice, numNew: 0 }), delta: word };
}

/** Parallel lists, as OpenAI's first API has them. */
function logprobsOf(tokens: readonly PlacedToken[]) {
  return {
    tokens: tokens.map(({ text }) => text),
    token_logprobs: tokens.map(({ logprob }) => logprob ?? null),
    top_logprobs: tokens.map(({ text, logprob, top = [] }) => {
      if (logprob === undefined) return null;
      // The token itself is always among them; of tokens that look the same the likeliest stays.
      const ranked = new Map<string, number>();
      for (const token of [...top, { text, logprob }]) {
        if (!ranked.has(token.text)) ranked.set(token.text, token.logprob);
      }
      return Object.fromEntries(ranked);
    }),
    text_offset: tokens.map(({ offset }) => offset),
  };
}
