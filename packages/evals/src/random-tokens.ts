import { EvalsError } from './error.ts';
import type { TextTokenizer } from './language-model.ts';
import type { PythonRandom } from './python-random.ts';
import { adjectives, nouns, verbs } from './wonderwords.ts';

/** Ids that the tokenizer gives to common English words: tokens that a model has been trained on, none of them special. */
export function wordTokens(tokenizer: Pick<TextTokenizer, 'encode'>): number[] {
  const text = [...nouns, ...adjectives, ...verbs].join(' ');
  return [...new Set(tokenizer.encode(text))].sort((a, b) => a - b);
}

/** Different tokens in random order. */
export function drawTokens(
  task: string,
  ids: readonly number[],
  count: number,
  random: PythonRandom,
): number[] {
  if (ids.length >= count) return random.sample(ids, count);
  throw new EvalsError(
    `${task}: needs ${count} different tokens, got ${ids.length} to draw from; ask for shorter sequences, or give more ids`,
  );
}
