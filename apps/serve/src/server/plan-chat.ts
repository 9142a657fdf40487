import { randomUUID } from 'node:crypto';
import type { TokenTexts } from '@meap/inference';
import { AnswerParts } from './answer-parts.ts';
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
import type { ToolUse } from './read-tools.ts';
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
    format: chatFormat(served, { withLogprobs: logprobs, stopIds: new Set(stopIds), tools: request.tools }),
  };
}

function chatFormat(
  { name: model, texts }: ServedModel,
  { withLogprobs, stopIds, tools }: FormatOptions,
): AnswerFormat {
  const created = Math.floor(Date.now() / 1000);
  const body = { id: `chatcmpl-${randomUUID()}`, object: 'chat.completion', created, model };
  const logprobs = (tokens: readonly OffsetToken[]) => {
    if (!withLogprobs) return null;
    const shown = tokens.filter(({ id }) => !stopIds.has(id));
    return { content: shown.map((token) => contentOf(token, texts)), refusal: null };
  };
  const answers = new Map<number, AnswerParts>();
  /** The parts of a choice, of which pieces arrive one after the other. */
  const partsOf = (index: number) => {
    const known = answers.get(index) ?? new AnswerParts(tools);
    answers.set(index, known);
    return known;
  };
  return {
    body,
    chunk: { ...body, object: 'chat.completion.chunk' },
    choice: ({ index, text, tokens, finish }) => {
      const { content = '', calls, finishReason } = partsOf(index).add(text, finish);
      const message = { role: 'assistant', content, refusal: null };
      return {
        index,
        message: calls.length > 0 ? { ...message, content: content || null, tool_calls: calls } : message,
        logprobs: logprobs(tokens),
        finish_reason: finishReason,
      };
    },
    opening: (index) => ({
      index,
      delta: { role: 'assistant', content: '' },
      logprobs: null,
      finish_reason: null,
    }),
    delta: ({ index, text, tokens, finish }) => {
      const { content, calls, finishReason, numBefore } = partsOf(index).add(text, finish);
      const numbered = calls.map((call, i) => ({ index: numBefore + i, ...call }));
      return {
        index,
        delta: {
          ...(content !== undefined && { content }),
          ...(numbered.length > 0 && { tool_calls: numbered }),
        },
        logprobs: logprobs(tokens),
        finish_reason: finishReason ?? null,
      };
    },
  };
}

function contentOf({ id, logprob, top = [] }: OffsetToken, texts: TokenTexts) {
  return { ...shown({ id, logprob }, texts), top_logprobs: top.map((token) => shown(token, texts)) };
}

function shown({ id, logprob }: Partial<RankedToken> & { id: number }, texts: TokenTexts) {
  return { token: texts.shown(id), logprob, bytes: [...texts.bytes(id)] };
}

interface FormatOptions {
  readonly withLogprobs: boolean;
  /** Ids that are not shown with log-probabilities. */
  readonly stopIds: ReadonlySet<number>;
  readonly tools: ToolUse | undefined;
}
