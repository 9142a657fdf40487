/** Prompts of tasks that ask for text. */
import type { LanguageModel } from './language-model.ts';
import type { TaskItem } from './task.ts';

/** How prompts become ids. */
export interface PromptEncoding {
  /**
   * Whether BOS stands before the prompt where the tokenizer has one.
   *
   * On by default: the published programs of these tasks leave it to the tokenizer, and Llama's put it there.
   */
  readonly bos?: boolean;
}

/** How prompts become requests for text. */
export interface PromptOptions extends PromptEncoding {
  /** Most tokens of an answer; fewer where the model's context ends before. */
  readonly maxNewTokens: number;
  /** Texts that end the answer. */
  readonly stop?: readonly string[];
  /** Longest prompt that is asked, BOS included; longer ones are skipped. Always less than the model's context. */
  readonly maxPromptTokens?: number;
}

/** Asks for what follows a prompt, or skips one that is too long, saying by how much. */
export function askForText(
  { tokenizer, contextLength }: Pick<LanguageModel, 'tokenizer' | 'contextLength'>,
  text: string,
  { maxNewTokens, stop, maxPromptTokens = Number.POSITIVE_INFINITY, bos = true }: PromptOptions,
): TaskItem['ask'] {
  const ids = tokenizer.encode(text);
  const prompt = bos && tokenizer.bosId !== undefined ? [tokenizer.bosId, ...ids] : ids;
  const longest = Math.min(maxPromptTokens, contextLength - 1);
  if (prompt.length > longest) {
    return { kind: 'skip', reason: `a prompt of ${prompt.length} tokens, at most ${longest} are asked` };
  }
  const room = contextLength - prompt.length;
  const request = { prompt, maxNewTokens: Math.min(maxNewTokens, room), ...(stop && { stop }) };
  return { kind: 'generate', requests: [request] };
}

/** A text with the values of its `{names}`. */
export function fill(template: string, values: Readonly<Record<string, string>>): string {
  return template.replace(/\{(\w+)\}/g, (name, key) => values[key] ?? name);
}

/** Beginning and end of a prompt, for logs: a long one would fill them. */
export function excerpt(prompt: string): string {
  return prompt.length <= 1200 ? prompt : `${prompt.slice(0, 400)} […] ${prompt.slice(-700)}`;
}
