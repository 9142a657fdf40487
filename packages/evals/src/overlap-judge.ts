/** A judge without a model: finds words and numbers of a summary that are not in the article. */
import { means } from './aggregation.ts';
import type { Judge } from './judge.ts';
import { stem } from './porter-stemmer.ts';

/** English function words, which are ignored. */
const FUNCTION_WORDS = new Set(
  (
    'a about above after again all also am an and any are as at be because been before being below between both but by ' +
    'can could did do does doing down during each few for from further had has have having he her here hers him his how ' +
    'i if in into is it its just may me might more most must my no nor not now of off on once only or other our out over ' +
    'own same she should so some such than that the their theirs them then there these they this those through to too ' +
    'under until up upon us very was we were what when where which while who whom whose why will with within would you ' +
    'your'
  ).split(' '),
);

/**
 * A judge of contextual hallucination by string overlap, without a judging model.
 *
 * Metrics, both shares from 0 to 1, lower is better: `unsupported_words`, the output's distinct content words that the
 * article lacks; `unsupported_numbers`, its distinct numbers that the article lacks. An output without such words or
 * numbers does not count.
 *
 * It is a cheap, exact check that finds invented names, locations and figures. It does not judge meaning: a paraphrase
 * counts as unsupported, and a false statement of the article's words, such as two swapped names, as supported. It
 * supports English only. Use it to compare models on the same articles, not as the paper's score.
 */
export function overlapJudge(): Judge {
  return {
    name: 'string overlap',
    config: { judge: 'overlap', version: 1 },
    metrics: means(['unsupported_words', 'unsupported_numbers'], false),
    async judge({ output, article }) {
      const [said, known] = [termsOf(output), termsOf(article)];
      const words = absent(said.words, known.words);
      const numbers = absent(said.numbers, known.numbers);
      const share = (missing: readonly string[], all: ReadonlyMap<string, string>) => ({
        value: missing.length / all.size,
      });
      return {
        measured: {
          ...(said.words.size > 0 ? { unsupported_words: share(words, said.words) } : {}),
          ...(said.numbers.size > 0 ? { unsupported_numbers: share(numbers, said.numbers) } : {}),
        },
        explanation:
          [...words, ...numbers].length > 0
            ? `not in the article: ${[...words, ...numbers].join(', ')}`
            : 'every content word and number is in the article',
      };
    },
  };
}

/** Content words by stem, in lower case, and numbers without thousands separators. */
function termsOf(text: string): { words: Map<string, string>; numbers: Map<string, string> } {
  const plain = text.normalize('NFKC').toLowerCase().replaceAll('’', "'");
  const words = new Map<string, string>();
  for (const [match] of plain.matchAll(/\p{L}[\p{L}\p{M}']*/gu)) {
    const word = match.replace(/'s?$/, '');
    if (word.length < 2 || FUNCTION_WORDS.has(word)) continue;
    const root = stem(word);
    if (!words.has(root)) words.set(root, word);
  }
  const numbers = new Map<string, string>();
  for (const [match] of plain.matchAll(/\d+(?:,\d{3})*(?:\.\d+)?/g)) {
    const number = match.replaceAll(',', '');
    numbers.set(number, number);
  }
  return { words, numbers };
}

function absent(said: ReadonlyMap<string, string>, known: ReadonlyMap<string, string>): string[] {
  return [...said].flatMap(([key, written]) => (known.has(key) ? [] : [written]));
}
