import { randomUUID } from 'node:crypto';
import type { TokenTexts } from '@meap/inference';
import type { OffsetToken } from './answer-pieces.ts';
import {
  type AnswerFormat,
  openGrammar,
  type Plan,
  type ServedModel,
  sequencesOf,
  streaming,
} from './plan.ts';
import type { CompletionRequest, Prompt } from './read-request.ts';

export async function planCompletion(request: CompletionRequest, served: ServedModel): Promise<Plan> {
  const { fields, prompts } = request;
  const { echo = false, logprobs: numTop } = fields;
  await served.texts.load(prompts.flatMap(({ ids }) => (echo ? ids : ids.slice(-1))));
  const rest = { numTop, echo, stopIds: served.stopIds };
  const grammar = await openGrammar(request, served);
  // After a prompt that ends with a special token, the answer starts a text; an echoed one is part of the text.
  const isSpecial = (id: number) => served.texts.bytes(id).length === 0;
  const beginsAnswer = ({ ids }: Pick<Prompt, 'ids'>) => {
    return echo ? ids.every(isSpecial) : isSpecial(ids[ids.length - 1]);
  };
  const sequences = prompts.flatMap((prompt) =>
    sequencesOf(prompt, fields, rest, { grammar, beginsText: beginsAnswer(prompt) }),
  );
  return {
    sequences,
    numPromptTokens: prompts.reduce((sum, { ids }) => sum + ids.length, 0),
    stops: fields.stop ?? [],
    beginsText: sequences.map(({ promptIds: ids }) => echo || beginsAnswer({ ids })),
    ...streaming(fields),
    format: completionFormat(served, numTop !== undefined),
  };
}

function completionFormat({ name: model, texts }: ServedModel, withLogprobs: boolean): AnswerFormat {
  const created = Math.floor(Date.now() / 1000);
  const body = { id: `cmpl-${randomUUID()}`, object: 'text_completion', created, model };
  const logprobs = (tokens: readonly OffsetToken[]) => (withLogprobs ? logprobsOf(tokens, texts) : null);
  const format = ({ index, text, tokens, finish }: Parameters<AnswerFormat['delta']>[0]) => {
    return { index, text, logprobs: logprobs(tokens), finish_reason: finish ?? null };
  };
  return { body, chunk: body, choice: (choice) => format({ ...choice, numNew: 0 }), delta: format };
}

/** Returns parallel lists, the format of OpenAI's legacy API. */
function logprobsOf(tokens: readonly OffsetToken[], texts: TokenTexts) {
  return {
    tokens: tokens.map(({ id }) => texts.shown(id)),
    token_logprobs: tokens.map(({ logprob }) => logprob ?? null),
    top_logprobs: tokens.map(({ id, logprob, top = [] }) => {
      if (logprob === undefined) return null;
      // Includes the token itself; of tokens with equal text, the most likely one is kept.
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
