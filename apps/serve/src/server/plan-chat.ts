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
import type { ChatRequest } from './read-request.ts';
import type { RankedToken } from './token-stream.ts';

export async function planChat(request: ChatRequest, served: ServedModel): Promise<Plan> {
  const {
    fields,
    prompts: [prompt],
  } = request;
  const { logprobs = false, top_logprobs: numTop = 0 } = fields;
  const stopIds = [...new Set([...served.stopIds, ...served.chatStopIds])];
  const rest = { numTop: logprobs ? numTop : undefined, echo: false, stopIds };
  const grammar = await openGrammar(request, served);
  const sequences = sequencesOf(prompt, fields, rest, { grammar, beginsText: true });
  return {
    sequences,
    numPromptTokens: prompt.ids.length,
    stops: fields.stop ?? [],
    beginsText: sequences.map(() => true),
    ...streaming(fields),
    format: chatFormat(served, logprobs, new Set(stopIds)),
  };
}

function chatFormat(
  { name: model, texts }: ServedModel,
  withLogprobs: boolean,
  stopIds: ReadonlySet<number>,
): AnswerFormat {
  const created = Math.floor(Date.now() / 1000);
  const body = { id: `chatcmpl-${randomUUID()}`, object: 'chat.completion', created, model };
  const logprobs = (tokens: readonly OffsetToken[]) => {
    if (!withLogprobs) return null;
    const shown = tokens.filter(({ id }) => !stopIds.has(id));
    return { content: shown.map((token) => contentOf(token, texts)), refusal: null };
  };
  return {
    body,
    chunk: { ...body, object: 'chat.completion.chunk' },
    choice: ({ index, text, tokens, finish }) => ({
      index,
      message: { role: 'assistant', content: text, refusal: null },
      logprobs: logprobs(tokens),
      finish_reason: finish,
    }),
    opening: (index) => ({
      index,
      delta: { role: 'assistant', content: '' },
      logprobs: null,
      finish_reason: null,
    }),
    delta: ({ index, text, tokens, finish }) => ({
      index,
      delta: text === '' ? {} : { content: text },
      logprobs: logprobs(tokens),
      finish_reason: finish ?? null,
    }),
  };
}

function contentOf({ id, logprob, top = [] }: OffsetToken, texts: TokenTexts) {
  return { ...shown({ id, logprob }, texts), top_logprobs: top.map((token) => shown(token, texts)) };
}

function shown({ id, logprob }: Partial<RankedToken> & { id: number }, texts: TokenTexts) {
  return { token: texts.shown(id), logprob, bytes: [...texts.bytes(id)] };
}
