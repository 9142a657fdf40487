/** Answers of a model to questions, while training and in a chat. */
import {
  ContextLengthError,
  contextLengthOf,
  type GenerateOptions,
  generate,
  type Llama,
} from '@meap/llama-model';
import type { ChatEncoder, Conversation, Tokenizer } from '@meap/token-dataset';
import { TokenTexts } from './token-texts.ts';

/** A model that answers. */
export interface Speaker {
  model: Llama;
  tokenizer: Tokenizer;
  encoder: ChatEncoder;
}

/**
 * Answers a conversation, yielding the text as it grows.
 *
 * Text is held back while it ends in the middle of a character. The id that ends the answer is not part of it.
 *
 * @param options without `maxNewTokens` the answer may fill the context
 * @throws ContextLengthError where the conversation leaves no room
 */
export async function* streamAnswer(
  { model, tokenizer, encoder }: Speaker,
  conversation: Conversation,
  options: GenerateOptions = {},
): AsyncGenerator<string, void, undefined> {
  const promptIds = await encoder.encodePrompt(conversation);
  const room = contextLengthOf(model.config) - promptIds.length;
  if (room < 1) {
    throw new ContextLengthError(
      `the conversation of ${promptIds.length} tokens fills the context of ${promptIds.length + room}; start a new one`,
    );
  }
  const maxNewTokens = Math.min(options.maxNewTokens ?? room, room);
  const special = new Set(encoder.specialIds);
  const texts = textsOf(tokenizer);
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let isFirst = true;
  for await (const id of generate(model, promptIds, { ...options, maxNewTokens })) {
    if (special.has(id)) continue;
    await texts.load([id]);
    const piece = decoder.decode(texts.bytes(id, { isFirst }), { stream: true });
    if (texts.bytes(id).length > 0) isFirst = false;
    if (piece !== '') yield piece;
  }
  const rest = decoder.decode();
  if (rest !== '') yield rest;
}

// What each token adds is looked up once for a tokenizer, not once for an answer.
const known = new WeakMap<Tokenizer, TokenTexts>();

function textsOf(tokenizer: Tokenizer): TokenTexts {
  let texts = known.get(tokenizer);
  if (!texts) {
    texts = new TokenTexts(tokenizer);
    known.set(tokenizer, texts);
  }
  return texts;
}

/** A whole answer. */
export async function answer(
  speaker: Speaker,
  conversation: Conversation,
  options: GenerateOptions = {},
): Promise<string> {
  let text = '';
  for await (const piece of streamAnswer(speaker, conversation, options)) text += piece;
  return text;
}
