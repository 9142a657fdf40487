/** Compares texts with answers by their words. */
import { words } from './python-text.ts';

/** A word character of Python's `regex`, which defines `\b`. */
const LETTER = '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]';
/** The articles between boundaries of words. */
const articlesOf = (letter: string) => new RegExp(`(?<!${letter})(?:a|an|the)(?!${letter})`, 'gu');
const articles = articlesOf(LETTER);
/** With the boundaries of Python's `re`. */
const articlesOfRe = articlesOf('[\\p{L}\\p{N}_]');

/**
 * Normalizes an answer as SQuAD's script does: lower case, without ASCII punctuation and the articles a, an, the, with
 * single spaces.
 */
export function normalizeAnswer(text: string): string {
  return normalizedWords(text, articles).join(' ');
}

function normalizedWords(text: string, articles: RegExp): string[] {
  const plain = text.toLowerCase().replace(/[!-/:-@[-`{-~]/g, '');
  return words(plain.replace(articles, ' '));
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

/**
 * The largest F1 of a text and one of the answers, over normalized words, each as often as it occurs: `qa_f1_score` of
 * LongBench (Bai et al. 2024). 0 where no word is shared, so also for an answer without words.
 */
export function answerF1(text: string, answers: readonly string[]): number {
  const found = normalizedWords(text, articlesOfRe);
  return Math.max(0, ...answers.map((answer) => wordF1(found, normalizedWords(answer, articlesOfRe))));
}

function wordF1(found: readonly string[], wanted: readonly string[]): number {
  const left = new Map<string, number>();
  for (const word of wanted) left.set(word, (left.get(word) ?? 0) + 1);
  let numShared = 0;
  for (const word of found) {
    const count = left.get(word) ?? 0;
    if (count > 0) numShared++;
    left.set(word, count - 1);
  }
  if (numShared === 0) return 0;
  const [precision, recall] = [numShared / found.length, numShared / wanted.length];
  return (2 * precision * recall) / (precision + recall);
}
