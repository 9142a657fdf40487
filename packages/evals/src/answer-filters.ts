/** Extracts answers from generated texts, as the filters of lm-evaluation-harness 0.4.13 (`lm_eval/filters`). */
import { strip } from './python-text.ts';

/** A step of a filter, applied to all texts of a row. */
export type FilterStep =
  /**
   * The text of the first non-empty group of a match, without white space at its ends; the first match, or that of a number,
   * where -1 is the last. Without a match the text is `fallback`, by default `[invalid]`.
   */
  | { readonly regex: RegExp; readonly select?: number; readonly fallback?: string }
  /** The value of a text in a map, or another one. */
  | { readonly map: ReadonlyMap<string, string>; readonly otherwise: string }
  /** Only the first texts. */
  | { readonly take: number }
  /** The most frequent text, the first of several. */
  | 'majority_vote'
  /** Each text without white space at its ends, or in another case. */
  | 'remove_whitespace'
  | 'lowercase'
  | 'uppercase';

/** A named sequence of steps; the first text that remains is the answer. */
export interface AnswerFilter {
  readonly name: string;
  readonly steps: readonly FilterStep[];
}

/** The answer of a text without a match. */
const INVALID = '[invalid]';

/** The answer in the texts generated for a row. */
export function filteredAnswer({ steps }: AnswerFilter, texts: readonly string[]): string {
  return steps.reduce(applyStep, texts)[0];
}

function applyStep(texts: readonly string[], step: FilterStep): readonly string[] {
  if (step === 'remove_whitespace') return texts.map(strip);
  if (step === 'lowercase') return texts.map((text) => text.toLowerCase());
  if (step === 'uppercase') return texts.map((text) => text.toUpperCase());
  if (step === 'majority_vote') return [mostFrequent(texts)];
  if ('take' in step) return texts.slice(0, step.take);
  if ('map' in step) return texts.map((text) => step.map.get(text) ?? step.otherwise);
  const { regex, select = 0, fallback = INVALID } = step;
  return texts.map((text) => {
    const match = [...text.matchAll(regex)].at(select);
    if (match === undefined) return fallback;
    const [whole, ...groups] = match;
    if (groups.length === 0) return strip(whole);
    const found = groups.length > 1 ? groups.find((group) => group) : (groups[0] ?? '');
    return found === undefined ? fallback : strip(found);
  });
}

function mostFrequent(texts: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  return [...counts].reduce((best, entry) => (entry[1] > best[1] ? entry : best))[0];
}

/** What does not count in {@link exactMatch}. */
export interface ExactMatchOptions {
  readonly ignoreCase?: boolean;
  /** ASCII punctuation. */
  readonly ignorePunctuation?: boolean;
  /** Digits. */
  readonly ignoreNumbers?: boolean;
  /** Global expressions, removed in turn before anything else. */
  readonly regexesToIgnore?: readonly RegExp[];
}

/** 1 if a text equals one of the answers, else 0: `exact_match` of the harness (`lm_eval/api/metrics.py`). */
export function exactMatch(text: string, answers: readonly string[], options: ExactMatchOptions = {}): 0 | 1 {
  const { ignoreCase, ignorePunctuation, ignoreNumbers, regexesToIgnore = [] } = options;
  const normalize = (text: string) => {
    const kept = regexesToIgnore.reduce((rest, ignored) => rest.replace(ignored, ''), text);
    const cased = ignoreCase ? kept.toLowerCase() : kept;
    const plain = ignorePunctuation ? cased.replace(/[!-/:-@[-`{-~]/g, '') : cased;
    return ignoreNumbers ? plain.replace(/[0-9]/g, '') : plain;
  };
  const normalized = normalize(text);
  return answers.some((answer) => normalize(answer) === normalized) ? 1 : 0;
}
