/** RULER's aggregation tasks: the most common words of a list, and of a text of made-up words. */
import { EvalsError } from './error.ts';
import { fill } from './prompt.ts';
import { PythonRandom } from './python-random.ts';
import type { DrawOptions, PromptSource, RulerPrompt } from './ruler-fit.ts';
import { adjectives, nouns, verbs } from './wonderwords.ts';

export const COMMON_WORD_TOKENS = 120;
export const FREQUENT_WORD_TOKENS = 50;

const NUM_COMMON = 10;
const LIST_TEMPLATE =
  'Below is a numbered list of words. In these words, some appear more often than others. Memorize the ones that appear most often.\n{context}\nQuestion: What are the 10 most common words in the above list? Answer: The top 10 words that appear most often in the list are:';
const TEXT_TEMPLATE =
  "Read the following coded text and track the frequency of each coded word. Find the three most frequently appeared coded words. {context}\nQuestion: Do not provide any explanation. Please ignore the dots '....'. What are the three most frequently appeared words in the above coded text? Answer: According to the coded text above, the three most frequently appeared words are:";

/**
 * Prompts of common words extraction: a solved example of few words, then the list with ten frequent words.
 *
 * `moreWords` is for lists of more words than wonderwords has, about 128,000 tokens.
 */
export function commonWordSource({
  seed,
  length,
  count,
  moreWords,
}: DrawOptions & { readonly moreWords: readonly string[] | undefined }): PromptSource {
  const random = new PythonRandom(seed);
  const known = [...new Set([...nouns, ...adjectives, ...verbs])].sort();
  new PythonRandom(seed).shuffle(known);

  const list = (size: number, oftenTimes: number, seldomTimes: number) => {
    const from = size <= known.length ? known : moreWords;
    if (from === undefined || from.length < size) {
      throw new EvalsError(
        `ruler_cwe: length is too large, got ${length} tokens, which may take ${size} words; set moreWords to a list of at least as many`,
      );
    }
    const words = random.sample(from, size);
    const common = words.slice(0, NUM_COMMON);
    const entries = [...repeat(common, oftenTimes), ...repeat(words.slice(NUM_COMMON), seldomTimes)];
    new PythonRandom(seed).shuffle(entries);
    return { context: numbered(entries), common };
  };
  const draw = (size: number): RulerPrompt => {
    const isShort = length < 4096;
    const example = isShort ? list(20, 3, 1) : list(40, 10, 3);
    const queried = isShort ? list(size, 6, 1) : list(size, 30, 3);
    const question = ({ context }: { context: string }) => fill(LIST_TEMPLATE, { context });
    const prompt = `${question(example)} ${numbered(example.common)}\n${question(queried)}`;
    return { prompt, answers: queried.common };
  };
  const upperBound = (tokensPerPiece: number) => Math.floor(length / tokensPerPiece) * 2;
  return { draw, count, numFree: COMMON_WORD_TOKENS, step: 10, probe: 4096, upperBound };
}

/** Prompts of frequent words extraction: words of six letters, with frequencies of the zeta distribution with α = 2. */
export function* frequentWordPrompts({
  seed,
  length,
  count,
}: DrawOptions): Generator<RulerPrompt, undefined> {
  const random = new PythonRandom(seed);
  const mostTokens = length - FREQUENT_WORD_TOKENS;
  const step = Math.floor(mostTokens / 32);
  const vocabulary = () => {
    const words = new Set<string>();
    while (words.size < Math.floor(mostTokens / 50))
      words.add(random.letters('abcdefghijklmnopqrstuvwxyz', 6));
    const shuffled = [...words].sort();
    new PythonRandom(seed).shuffle(shuffled);
    return ['...', ...shuffled.slice(1)]; // The most frequent word is noise.
  };
  const text = (words: readonly string[], size: number) => {
    const zeta2 = Math.PI ** 2 / 6;
    const entries = words.flatMap((word, k) => repeat([word], Math.trunc((size * (k + 1) ** -2) / zeta2)));
    new PythonRandom(seed).shuffle(entries);
    return fill(TEXT_TEMPLATE, { context: entries.join(' ') });
  };

  const first = vocabulary();
  let size = Math.floor(mostTokens / 6);
  while (count(text(first, size)) < mostTokens) size += step;
  size -= step;
  for (;;) {
    const words = vocabulary();
    let used = size;
    while (count(text(words, used)) > mostTokens) used -= step;
    yield { prompt: text(words, used), answers: words.slice(1, 4) };
  }
}

function numbered(words: readonly string[]): string {
  return words.map((word, index) => `${index + 1}. ${word}`).join(' ');
}

function repeat(words: readonly string[], times: number): string[] {
  return Array.from({ length: times }, () => words).flat();
}
