/** Scores of texts by common words. */
import { stem } from './porter-stemmer.ts';
import { words } from './python-text.ts';

/** Shares of common words, from 0 to 1. */
export interface Rouge {
  /** Share of the prediction's words. */
  readonly precision: number;
  /** Share of the reference's words. */
  readonly recall: number;
  /** Harmonic mean of both; 0 without common words. */
  readonly f1: number;
}

/**
 * ROUGE-1 (Lin 2004) as in Google's `rouge_score` 0.1.2 with `use_stemmer=True`: lower case, words of a-z and 0-9, words
 * of more than three letters are stemmed, repeated words count as often as in both texts.
 *
 * @param tokens splits a text into words; see {@link tokensFor}
 */
export function rouge1(reference: string, prediction: string, tokens = rougeTokens): Rouge {
  const wanted = tokens(reference);
  const given = tokens(prediction);
  const left = new Map<string, number>();
  for (const token of wanted) left.set(token, (left.get(token) ?? 0) + 1);
  let common = 0;
  for (const token of given) {
    const count = left.get(token) ?? 0;
    if (count === 0) continue;
    left.set(token, count - 1);
    common++;
  }
  const precision = common / Math.max(given.length, 1);
  const recall = common / Math.max(wanted.length, 1);
  return { precision, recall, f1: common === 0 ? 0 : (2 * precision * recall) / (precision + recall) };
}

function rougeTokens(text: string): string[] {
  const tokens = text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
  return tokens.map((token) => (token.length > 3 ? stem(token) : token));
}

/**
 * Returns the words of `rouge_score`, or, for a reference without any of them, those of other scripts: words of letters and
 * digits, and each character of scripts without spaces.
 */
export function tokensFor(reference: string): (text: string) => string[] {
  if (rougeTokens(reference).length > 0) return rougeTokens;
  return (text) => text.toLowerCase().match(OTHER_WORDS) ?? [];
}

const UNSPACED = ['Han', 'Hiragana', 'Katakana', 'Thai', 'Lao', 'Khmer', 'Myanmar', 'Tibetan']
  .map((script) => String.raw`\p{Script=${script}}`)
  .join('');
const OTHER_WORDS = new RegExp(
  String.raw`(?!\p{P})[${UNSPACED}]\p{M}*|(?:(?![${UNSPACED}])[\p{L}\p{M}\p{N}])+`,
  'gu',
);

/**
 * Share of an answer's words in a response, from 0 to 1, as in the heat maps of Fu et al. 2024: words are separated by
 * white space, with punctuation, in lower case.
 *
 * A word that occurs twice in the answer counts once in the numerator and twice in the denominator, so `eat a sandwich …
 * on a sunny day.` reaches at most 11/12.
 */
export function unigramOverlap(answer: string, response: string): number {
  const wanted = words(answer.toLowerCase());
  const given = new Set(words(response.toLowerCase()));
  return new Set(wanted.filter((word) => given.has(word))).size / Math.max(wanted.length, 1);
}
