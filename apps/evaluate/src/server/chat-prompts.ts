import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Template } from '@huggingface/jinja';
import { ConfigurationError, reasonOf } from '@meap/recipe-cli';
import { LiteralEncoder, type Tokenizer } from '@meap/token-dataset';
import type { ChatPrompts } from './plan.ts';

/**
 * Prompts by a model's own chat template: `chat_template.jinja`, or `chat_template` in tokenizer_config.json, where several
 * may have names; `default` is then taken.
 *
 * The special tokens that the template writes become their ids. A message that spells one is refused: it would pass for
 * the template's own, and end its turn early.
 *
 * @param directory folder of the tokenizer
 * @returns undefined where there is no template
 * @throws ConfigurationError for a template that is not Jinja
 */
export function openChatPrompts(directory: string, tokenizer: Tokenizer): ChatPrompts | undefined {
  const source = templateOf(directory, tokenizer);
  if (source === undefined) return undefined;
  let template: Template;
  try {
    template = new Template(source);
  } catch (error) {
    throw new ConfigurationError([`model ${directory}: its chat template is not Jinja: ${reasonOf(error)}`]);
  }
  const { specialTokens } = new LiteralEncoder(tokenizer);
  const names = specialTokenNames(tokenizer);
  return {
    stopIds: tokenizer.eosTokenId === undefined ? [] : [tokenizer.eosTokenId],
    encodePrompt: (messages) => {
      for (const { content } of messages) {
        const spelled = specialTokens.find((token) => content.includes(token.content));
        if (spelled) throw new Error(`a message spells the special token ${spelled.content}; take it out`);
      }
      const text = template.render({ ...names, messages, add_generation_prompt: true });
      return tokenizer.encode(text, { addSpecialTokens: false });
    },
  };
}

function templateOf(directory: string, { config }: Tokenizer): string | undefined {
  const path = join(directory, 'chat_template.jinja');
  if (existsSync(path)) return readFileSync(path, 'utf8');
  const own = config.chat_template as string | { name: string; template: string }[] | undefined;
  if (!Array.isArray(own)) return own;
  return (own.find(({ name }) => name === 'default') ?? own[0])?.template;
}

/** Texts by the names that templates know them by, such as `bos_token`. */
function specialTokenNames({ config }: Tokenizer): Record<string, string> {
  const entries = Object.entries(config).flatMap(([key, value]) => {
    const text = (value as { content?: unknown } | null)?.content ?? value;
    return key.endsWith('_token') && typeof text === 'string' ? [[key, text]] : [];
  });
  return { bos_token: '', eos_token: '', ...Object.fromEntries(entries) };
}
