import { randomUUID } from 'node:crypto';
import type { PlacedToken, ShownToken } from './answer-pieces.ts';
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
import { type ChatFields, chatFields, parseFields } from './request-fields.ts';

/**
 * Works out a body of `/v1/chat/completions`.
 *
 * @throws ApiError 400, 404
 */
export async function planChat(body: unknown, served: Served): Promise<Plan> {
  const fields = parseFields(chatFields, body);
  requireModel(fields, served);
  const { logprobs = false, top_logprobs: numTop } = fields;
  if (numTop !== undefined && !logprobs) {
    throw new ApiError(400, 'top_logprobs: got it without logprobs, expected logprobs true', {
      param: 'top_logprobs',
    });
  }
  requireCount(fields.n ?? 1, served, 'n');
  const promptIds = await encodeMessages(fields, served);
  const maxNewTokens = roomFor(promptIds.length, maxTokens(fields), served, { param: 'messages' });
  const stopIds = [...new Set([...served.stopIds, ...served.chat!.stopIds])];
  const rest = { maxNewTokens, numTop: logprobs ? (numTop ?? 0) : undefined, echo: false, stopIds };
  const sequences = sequencesOf(promptIds, fields, rest);
  return {
    sequences,
    numPromptTokens: promptIds.length,
    stops: fields.stop ?? [],
    beginsText: sequences.map(() => true),
    ...streaming(fields),
    format: chatFormat(served.name, logprobs, new Set(stopIds)),
  };
}

async function encodeMessages({ messages }: ChatFields, served: Served): Promise<number[]> {
  if (!served.chat) {
    throw new ApiError(
      400,
      'messages: the model has no chat template; use /v1/completions, or serve with --chat-template',
      {
        param: 'messages',
      },
    );
  }
  const roles = { system: 'system', developer: 'system', user: 'user', assistant: 'assistant' } as const;
  const conversation = messages.map(({ role, content }) => ({ role: roles[role], content }));
  let ids: Int32Array;
  try {
    ids = await served.chat.encodePrompt(conversation);
  } catch (error) {
    // Templates refuse what they were not written for: roles out of turn, an empty conversation.
    throw new ApiError(400, `messages: ${(error as Error).message.split('\n')[0]}`, { param: 'messages' });
  }
  requireIds(ids, served, 'messages');
  return Array.from(ids);
}

function maxTokens({ max_tokens: old, max_completion_tokens: wanted }: ChatFields): number | undefined {
  if (old === undefined || wanted === undefined || old === wanted) return wanted ?? old;
  throw new ApiError(
    400,
    `max_tokens: got ${old} and max_completion_tokens ${wanted}, expected one; leave it out`,
    {
      param: 'max_tokens',
    },
  );
}

function chatFormat(model: string, withLogprobs: boolean, stopIds: ReadonlySet<number>): AnswerFormat {
  const created = Math.floor(Date.now() / 1000);
  const body = { id: `chatcmpl-${randomUUID()}`, object: 'chat.completion', created, model };
  const logprobs = (tokens: readonly PlacedToken[]) =>
    withLogprobs
      ? { content: tokens.filter(({ id }) => !stopIds.has(id)).map(contentOf), refusal: null }
      : null;
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

function contentOf({ text, bytes, logprob, top = [] }: PlacedToken) {
  return { token: text, logprob, bytes, top_logprobs: top.map(rankedOf) };
}

function rankedOf({ text, bytes, logprob }: ShownToken) {
  return { token: text, logprob, bytes };
}
