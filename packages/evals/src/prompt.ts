/** Prompts of tasks that generate text. */
import type { Generation, LanguageModel } from './language-model.ts';
import type { TaskItem } from './task.ts';

/** How prompts become ids. */
export interface PromptEncoding {
  /**
   * Whether BOS precedes the prompt if the tokenizer has one.
   *
   * Default true: the published programs of these tasks leave it to the tokenizer, and Llama's adds it.
   */
  readonly bos?: boolean;
}

/** How prompts become requests for text. */
interface PromptOptions extends PromptEncoding {
  /** Maximum tokens of an answer; fewer if the model's context ends before. */
  readonly maxNewTokens: number;
  /** Texts that end the answer. */
  readonly stop?: readonly string[];
  /** Maximum tokens of a prompt, including BOS; longer prompts are skipped. Always less than the model's context. */
  readonly maxPromptTokens?: number;
}

/** The row of {@link textItem}. */
interface TextRow extends Pick<TaskItem, 'id' | 'groups' | 'shown'>, PromptOptions {
  readonly prompt: string;
}

/** An item that generates text after a prompt; `measure` returns numbers by metric. */
export function textItem(
  model: Pick<LanguageModel, 'tokenizer' | 'contextLength'>,
  { id, groups, shown, prompt, ...options }: TextRow,
  measure: (text: string) => Readonly<Record<string, number>>,
): TaskItem {
  return {
    id,
    groups,
    shown: { prompt: excerpt(prompt), ...shown },
    ask: askForText(model, prompt, options),
    measure: ([answer]) => {
      const numbers = Object.entries(measure((answer as Generation).text));
      return Object.fromEntries(numbers.map(([name, value]) => [name, { value }]));
    },
  };
}

/** A request for the text after a prompt, or a skip with the reason if the prompt is too long. */
function askForText(
  { tokenizer, contextLength }: Pick<LanguageModel, 'tokenizer' | 'contextLength'>,
  text: string,
  { maxNewTokens, stop, maxPromptTokens = Number.POSITIVE_INFINITY, bos = true }: PromptOptions,
): TaskItem['ask'] {
  const ids = tokenizer.encode(text);
  const prompt = bos && tokenizer.bosId !== undefined ? [tokenizer.bosId, ...ids] : ids;
  const longest = Math.min(maxPromptTokens, contextLength - 1);
  if (prompt.length > longest) {
    return { kind: 'skip', reason: `a prompt of ${prompt.length} tokens, expected at most ${longest}` };
  }
  const room = contextLength - prompt.length;
  const request = { prompt, maxNewTokens: Math.min(maxNewTokens, room), ...(stop && { stop }) };
  return { kind: 'generate', requests: [request] };
}

/** A text with the values of its `{names}`. */
export function fill(template: string, values: Readonly<Record<string, string>>): string {
  return template.replace(/\{(\w+)\}/g, (name, key) => values[key] ?? name);
}

/** Start and end of a prompt, short enough for logs. */
function excerpt(prompt: string): string {
  return prompt.length <= 1200 ? prompt : `${prompt.slice(0, 400)} […] ${prompt.slice(-700)}`;
}
