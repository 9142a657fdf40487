/** Generates answers to conversations. */
import {
  ContextLengthError,
  contextLengthOf,
  type GenerateOptions,
  generate,
  type Llama,
} from '@meap/llama-model';
import type { ChatEncoder, Conversation, Tokenizer } from '@meap/token-dataset';
import { TokenTexts } from './token-texts.ts';

/** A model with its tokenizer and chat template. */
export interface ChatModel {
  model: Llama;
  tokenizer: Tokenizer;
  encoder: ChatEncoder;
}

/**
 * Generates an answer to a conversation, yielding pieces of text.
 *
 * Incomplete characters are held back. The token that ends the answer is not included.
 *
 * @param options `maxNewTokens` defaults to the rest of the context
 * @throws ContextLengthError if the conversation fills the context
 */
export async function* streamAnswer(
  { model, tokenizer, encoder }: ChatModel,
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

// Shared by all answers with a tokenizer.
const tokenTexts = new WeakMap<Tokenizer, TokenTexts>();

function textsOf(tokenizer: Tokenizer): TokenTexts {
  let texts = tokenTexts.get(tokenizer);
  if (!texts) {
    texts = new TokenTexts(tokenizer);
    tokenTexts.set(tokenizer, texts);
  }
  return texts;
}
