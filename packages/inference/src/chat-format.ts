/** Chat templates as evaluations use them: whole prompts as text. */
import type { ChatFormat } from '@meap/evals';
import {
  type ChatTemplate,
  loadChatTemplate,
  specialTokensOf,
  TemplateError,
  type Tokenizer,
} from '@meap/token-dataset';
import type { DisposableTokenizer } from './text-tokenizer.ts';

/**
 * Loads a chat template for evaluations.
 *
 * @param directory folder of the tokenizer
 * @param choice true for the model's own, or the name of a built-in one or a file
 * @throws TemplateError if it does not exist or is no Jinja
 */
export function openChatTemplate(
  directory: string,
  tokenizer: Tokenizer,
  choice: true | string,
): ChatTemplate {
  return loadChatTemplate(directory, specialTokensOf(tokenizer), {
    choice: choice === true ? undefined : choice,
    setting: '--apply-chat-template',
  });
}

/**
 * A chat template as lm-evaluation-harness applies it: the whole rendering is parsed for special tokens, and a template that
 * refuses a system message is rendered without it.
 */
export function chatFormatOf(template: ChatTemplate, tokenizer: DisposableTokenizer): ChatFormat {
  return {
    encode: (text) => tokenizer.encodeRendered(text),
    render(messages) {
      const options = { addGenerationPrompt: true };
      const others = messages.filter(({ role }) => role !== 'system');
      try {
        return template.render(messages, options);
      } catch (error) {
        if (!(error instanceof TemplateError) || others.length === messages.length) throw error;
        return template.render(others, options);
      }
    },
  };
}
