/** Checks whether a text contains an answer. */
import { words } from './python-text.ts';

/** A word character of Python's `regex`, which defines `\b`. */
const LETTER = '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]';
const articles = new RegExp(`(?<!${LETTER})(?:a|an|the)(?!${LETTER})`, 'gu');

/**
 * Normalizes an answer as SQuAD's script does: lower case, without ASCII punctuation and the articles a, an, the, with
 * single spaces.
 */
export function normalizeAnswer(text: string): string {
  const plain = text.toLowerCase().replace(/[!-/:-@[-`{-~]/g, '');
  return words(plain.replace(articles, ' ')).join(' ');
}

/**
 * 1 if the normalized text contains one of the normalized answers, else 0: `best_subspan_em` of lost in the middle (Liu
 * et al. 2023).
 *
 * As published, a part of a word counts, and every text contains an answer that consists of articles.
 */
export function bestSubspanMatch(text: string, answers: readonly string[]): 0 | 1 {
  const normalized = normalizeAnswer(text);
  return answers.some((answer) => normalized.includes(normalizeAnswer(answer))) ? 1 : 0;
}
