import { basename } from 'node:path';
import {
  ChatEncoder,
  ChatTemplate,
  type Conversation,
  loadChatTemplate,
  specialTokensOf,
  TemplateError,
  type Tokenizer,
} from '@meap/token-dataset';

/** Turns messages into prompts. */
export interface ChatPrompts {
  /** Ids that end an answer, besides those that end a text. */
  readonly stopIds: readonly number[];
  /** The text of a conversation and the header of its next answer. */
  render(messages: Conversation): string;
  /** Its ids. */
  encodePrompt(messages: Conversation): Promise<Int32Array>;
}

/** Prompts, or why there are none; either way in words for who starts the server. */
export interface OpenedChat {
  readonly prompts?: ChatPrompts;
  readonly description: string;
}

/**
 * Prompts by a chat template: the model's own, a built-in one or a file.
 *
 * A model without a template, or with one that does not suit, still serves completions. A template that was asked for
 * has to be there.
 *
 * @param directory folder of the tokenizer
 * @param choice what `--chat-template` says
 * @throws TemplateError for a choice that is no template, or none for this tokenizer
 */
export function openChatPrompts(directory: string, tokenizer: Tokenizer, choice?: string): OpenedChat {
  try {
    const specialTokens = specialTokensOf(tokenizer);
    const { name, source } = loadChatTemplate(directory, specialTokens, {
      choice,
      setting: '--chat-template',
    });
    // Refusals carry the name to clients, who need not know the folders of this machine.
    const template = new ChatTemplate(basename(name), source, specialTokens);
    const encoder = new ChatEncoder(tokenizer, template);
    const end = tokenizer.idToToken(encoder.endOfAnswerId);
    return {
      prompts: {
        stopIds: [encoder.endOfAnswerId],
        render: (messages) => template.render(messages, { addGenerationPrompt: true }),
        encodePrompt: (messages) => encoder.encodePrompt(messages),
      },
      description: `${name}; answers end with ${end}`,
    };
  } catch (error) {
    if (!(error instanceof TemplateError) || choice !== undefined) throw error;
    return { description: `none: ${error.message}` };
  }
}
