/** Whether a text has an answer in it. */
import { words } from './python-text.ts';

/** What Python's `regex` takes for a letter of a word, so what `\b` stands between. */
const LETTER = '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]';
const articles = new RegExp(`(?<!${LETTER})(?:a|an|the)(?!${LETTER})`, 'gu');

/**
 * An answer without what does not matter, as SQuAD's script does it: small letters, ASCII punctuation dropped, the
 * articles a, an, the dropped, white space collapsed.
 */
export function normalizeAnswer(text: string): string {
  const plain = text.toLowerCase().replace(/[!-/:-@[-`{-~]/g, '');
  return words(plain.replace(articles, ' ')).join(' ');
}

/**
 * 1 where one of the answers, normalised, is a part of the normalised text, else 0: `best_subspan_em` of lost in the
 * middle (Liu et al. 2023).
 *
 * A part of a word counts too, and an answer of nothing but articles is in every text; both as published.
 */
export function bestSubspanMatch(text: string, answers: readonly string[]): 0 | 1 {
  const normalized = normalizeAnswer(text);
  return answers.some((answer) => normalized.includes(normalizeAnswer(answer))) ? 1 : 0;
}
