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
import { type ToolCallForm, toolCallFormOf } from './tool-calls.ts';

/** Converts messages to prompts. */
export interface ChatPrompts {
  /** Ids that end an answer, in addition to those that end a text. */
  readonly stopIds: readonly number[];
  /** How the template writes tool calls; undefined if in none of the known forms. */
  readonly toolCallForm: ToolCallForm | undefined;
  /** Renders a conversation and the header of the next answer. */
  render(messages: Conversation): string;
  /** Renders and encodes a conversation. */
  encodePrompt(messages: Conversation): Promise<Int32Array>;
}

/** The result of {@link openChatPrompts}; the description names the template or the reason why there is none. */
export interface OpenedChat {
  readonly prompts?: ChatPrompts;
  readonly description: string;
}

/**
 * Opens a chat template: the model's, a built-in one or a file.
 *
 * Without a usable template of the model, `prompts` is undefined; a template that was chosen must be usable.
 *
 * @param directory folder of the tokenizer
 * @param choice the value of `--chat-template`
 * @throws TemplateError if the chosen template does not exist or does not suit the tokenizer
 */
export function openChatPrompts(directory: string, tokenizer: Tokenizer, choice?: string): OpenedChat {
  try {
    const specialTokens = specialTokensOf(tokenizer);
    const { name, source } = loadChatTemplate(directory, specialTokens, {
      choice,
      setting: '--chat-template',
    });
    // Errors show the name to clients, so it must not contain a path.
    const template = new ChatTemplate(basename(name), source, specialTokens);
    const encoder = new ChatEncoder(tokenizer, template);
    const end = tokenizer.idToToken(encoder.endOfAnswerId);
    return {
      prompts: {
        stopIds: [encoder.endOfAnswerId],
        toolCallForm: toolCallFormOf((messages) => template.render(messages)),
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
