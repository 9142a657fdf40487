import { randomUUID } from 'node:crypto';
import type { TokenTexts } from '@meap/inference';
import type { PlacedToken } from './answer-pieces.ts';
import { type AnswerFormat, type Plan, type Served, sequencesOf, streaming } from './plan.ts';
import type { CompletionRequest } from './read-request.ts';

/** Works out a request to `/v1/completions`. */
export async function planCompletion({ fields, prompts }: CompletionRequest, served: Served): Promise<Plan> {
  const { echo = false, logprobs: numTop } = fields;
  await served.texts.load(prompts.map(({ ids }) => ids[ids.length - 1]));
  const rest = { numTop, echo, stopIds: served.stopIds };
  const sequences = prompts.flatMap((prompt) => sequencesOf(prompt, fields, rest));
  return {
    sequences,
    numPromptTokens: prompts.reduce((sum, { ids }) => sum + ids.length, 0),
    stops: fields.stop ?? [],
    // Behind nothing but special tokens stands the beginning of a text.
    beginsText: sequences.map(({ promptIds }) => echo || served.texts.bytes(promptIds.at(-1)!).length === 0),
    ...streaming(fields),
    format: completionFormat(served, numTop !== undefined),
  };
}

function completionFormat({ name: model, texts }: Served, withLogprobs: boolean): AnswerFormat {
  const created = Math.floor(Date.now() / 1000);
  const body = { id: `cmpl-${randomUUID()}`, object: 'text_completion', created, model };
  const logprobs = (tokens: readonly PlacedToken[]) => (withLogprobs ? logprobsOf(tokens, texts) : null);
  const word = ({ index, text, tokens, finish }: Parameters<AnswerFormat['delta']>[0]) => {
    return { index, text, logprobs: logprobs(tokens), finish_reason: finish ?? null };
  };
  return { body, chunk: body, choice: (choice) => word({ ...choice, numNew: 0 }), delta: word };
}

/** Parallel lists, as OpenAI's first API has them. */
function logprobsOf(tokens: readonly PlacedToken[], texts: TokenTexts) {
  return {
    tokens: tokens.map(({ id }) => texts.shown(id)),
    token_logprobs: tokens.map(({ logprob }) => logprob ?? null),
    top_logprobs: tokens.map(({ id, logprob, top = [] }) => {
      if (logprob === undefined) return null;
      // The token itself is always among them; of tokens that look the same the likeliest stays.
      const ranked = new Map<string, number>();
      for (const token of [...top, { id, logprob }]) {
        const text = texts.shown(token.id);
        if (!ranked.has(text)) ranked.set(text, token.logprob);
      }
      return Object.fromEntries(ranked);
    }),
    text_offset: tokens.map(({ offset }) => offset),
  };
}
