/** Answers of a model to questions, while training and in a chat. */
import {
  ContextLengthError,
  contextLengthOf,
  type GenerateOptions,
  generate,
  type Llama,
} from '@meap/llama-model';
import type { ChatEncoder, Conversation, Tokenizer } from '@meap/token-dataset';

/** A model that answers. */
export interface Speaker {
  model: Llama;
  tokenizer: Tokenizer;
  encoder: ChatEncoder;
}

/**
 * Answers a conversation, yielding the text as it grows.
 *
 * A piece is held back while it ends in the middle of a character. The id that ends the answer is not part of it.
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
  const ids: number[] = [];
  let shown = '';
  for await (const id of generate(model, promptIds, { ...options, maxNewTokens })) {
    if (special.has(id)) continue;
    ids.push(id);
    const text = await tokenizer.decode(ids);
    // Decoders write U+FFFD for a character whose bytes are not all there yet.
    if (text.endsWith('\u{fffd}') || !text.startsWith(shown)) continue;
    yield text.slice(shown.length);
    shown = text;
  }
  const text = await tokenizer.decode(ids);
  if (text.length > shown.length) yield text.slice(shown.length);
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
