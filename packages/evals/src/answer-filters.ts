/** Extracts answers from generated texts, as the filters of lm-evaluation-harness 0.4.13 (`lm_eval/filters`). */
import { strip } from './python-text.ts';

/** A step of a filter, applied to all texts of a row. */
export type FilterStep =
  /** The text of the first non-empty group of a match; the first match, or with `last` the last one. */
  | { readonly regex: RegExp; readonly last?: boolean }
  /** Only the first texts. */
  | { readonly take: number }
  /** The most frequent text, the first of several; or each without white space at its ends. */
  | 'majority_vote'
  | 'remove_whitespace';

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
  if (step === 'majority_vote') return [mostFrequent(texts)];
  if ('take' in step) return texts.slice(0, step.take);
  return texts.map((text) => {
    const match = [...text.matchAll(step.regex)].at(step.last ? -1 : 0);
    const [whole, ...groups] = match ?? [];
    const found = groups.length > 1 ? groups.find((group) => group) : (groups[0] ?? whole);
    return found === undefined ? INVALID : strip(found);
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
  /** Global expressions, removed in turn before anything else. */
  readonly regexesToIgnore?: readonly RegExp[];
}

/** 1 if a text equals one of the answers, else 0: `exact_match` of the harness (`lm_eval/api/metrics.py`). */
export function exactMatch(text: string, answers: readonly string[], options: ExactMatchOptions = {}): 0 | 1 {
  const { ignoreCase, ignorePunctuation, regexesToIgnore = [] } = options;
  const normalize = (text: string) => {
    const kept = regexesToIgnore.reduce((rest, ignored) => rest.replace(ignored, ''), text);
    const cased = ignoreCase ? kept.toLowerCase() : kept;
    return ignorePunctuation ? cased.replace(/[!-/:-@[-`{-~]/g, '') : cased;
  };
  const normalized = normalize(text);
  return answers.some((answer) => normalize(answer) === normalized) ? 1 : 0;
}
