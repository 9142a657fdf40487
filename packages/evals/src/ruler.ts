/**
 * RULER (Hsieh et al. 2024): synthetic tasks of any length, whose results give the effective length of a model's
 * context.
 *
 * Settings, prompts and draws are those of NVIDIA/RULER (Apache-2.0), with its template for base models. Its two
 * question answering tasks are not included.
 */
import { means } from './aggregation.ts';
import { EvalsError } from './error.ts';
import type { TextTokenizer } from './language-model.ts';
import { type PromptEncoding, textItem } from './prompt.ts';
import { splitAtSpace } from './python-text.ts';
import type { TaskResult } from './result.ts';
import { fittedPrompts, type RulerPrompt } from './ruler-fit.ts';
import { NEEDLE_TOKENS, needleSettings, needleSource, splitSentences } from './ruler-needles.ts';
import { VARIABLE_TOKENS, variableSource } from './ruler-variables.ts';
import {
  COMMON_WORD_TOKENS,
  commonWordSource,
  FREQUENT_WORD_TOKENS,
  frequentWordPrompts,
} from './ruler-words.ts';
import type { Task, TaskItem } from './task.ts';

/** RULER's names of its synthetic tasks. */
export type RulerTaskName =
  | 'niah_single_1'
  | 'niah_single_2'
  | 'niah_single_3'
  | 'niah_multikey_1'
  | 'niah_multikey_2'
  | 'niah_multikey_3'
  | 'niah_multivalue'
  | 'niah_multiquery'
  | 'vt'
  | 'cwe'
  | 'fwe';

/** All of {@link RulerTaskName}. */
export const rulerTaskNames: RulerTaskName[] = [
  ...(Object.keys(needleSettings) as (keyof typeof needleSettings)[]),
  'vt',
  'cwe',
  'fwe',
];

/** Options of {@link rulerTask}. */
export interface RulerOptions extends PromptEncoding {
  /** Tokens of prompt and answer together, without BOS. */
  readonly lengths: readonly number[];
  /** Prompts of each length; default 500. */
  readonly numSamples?: number;
  /** Seed of the draws of each length; default 42. */
  readonly seed?: number;
  /** Texts of the haystack of the essay tasks, which are concatenated. */
  readonly haystack?: readonly string[];
  /**
   * Splits this haystack, with single spaces as white space, into the sentences between which needles are inserted; by
   * default at full stops, question and exclamation marks. RULER uses NLTK's Punkt, which recognizes abbreviations.
   */
  readonly splitSentences?: (text: string) => string[];
  /** English words for `cwe` at lengths that need more than 8,700 distinct words. */
  readonly moreWords?: readonly string[];
}

const tokensToGenerate = { vt: VARIABLE_TOKENS, cwe: COMMON_WORD_TOKENS, fwe: FREQUENT_WORD_TOKENS };

/**
 * `ruler_niah_single_1`, `ruler_vt` and so on; `string_match_all` is 100 times the share of the answers that are in the
 * response, in lower case, in groups `length`.
 *
 * Prompts depend on the model's tokenizer, which counts their lengths. Lengths beyond the model's context are skipped.
 *
 * @throws EvalsError for an unknown task, no or invalid lengths, a missing haystack; from `items`, for a list of common
 *   words that needs more words than there are
 */
export function rulerTask(task: RulerTaskName, options: RulerOptions): Task {
  const { lengths, numSamples = 500, seed = 42, bos = true } = options;
  const name = `ruler_${task}`;
  requireOptions(task, options);
  const maxNewTokens = isNeedle(task) ? NEEDLE_TOKENS : tokensToGenerate[task];
  return {
    name,
    version: 1,
    metrics: means(['string_match_all']),
    config: {
      lengths,
      num_samples: numSamples,
      seed,
      ...(isNeedle(task) && needleSettings[task]),
      ...(isEssay(task) && { sentences: options.splitSentences === undefined ? 'by marks' : 'given' }),
      max_new_tokens: maxNewTokens,
      bos,
    },
    numItems: lengths.length * numSamples,
    numQuestions: numSamples,
    *items(model, maxQuestions = numSamples): Iterable<TaskItem> {
      for (const length of lengths) {
        const prompts =
          length <= model.contextLength ? promptsOf(task, length, options, model.tokenizer) : undefined;
        for (let sample = 0; sample < Math.min(numSamples, maxQuestions); sample++) {
          const drawn = prompts?.next().value;
          const row = { id: `${length}-${sample}`, groups: { length } };
          if (!drawn) {
            const reason = reasonToSkip(length, model.contextLength);
            yield { ...row, shown: {}, ask: { kind: 'skip', reason }, measure: () => ({}) };
            continue;
          }
          const { prompt, answers } = drawn;
          yield textItem(model, { ...row, shown: { answers }, prompt, maxNewTokens, bos }, (text) => ({
            string_match_all: stringMatchAll(text, answers),
          }));
        }
      }
    },
  };
}

/** Score of one length. */
export interface LengthScore {
  readonly length: number;
  /** Mean over tasks, 0 to 100. */
  readonly score: number;
  /** Whether the score exceeds the threshold. */
  readonly exceeds: boolean;
}

/**
 * The longest length up to which the mean over RULER's tasks exceeds a threshold; undefined if the shortest does not.
 *
 * @param results results of different RULER tasks, with the same lengths
 * @param threshold default 85.6: Llama 2 7B at 4,096 tokens, over all 13 tasks of the paper
 * @throws EvalsError for no results, a repeated task, or a length without a score in every task
 */
export function effectiveLength(
  results: readonly TaskResult[],
  threshold = 85.6,
): { readonly effective: number | undefined; readonly lengths: readonly LengthScore[] } {
  const tasks = results.map(({ task }) => task);
  if (tasks.length === 0 || new Set(tasks).size < tasks.length) {
    throw new EvalsError(
      `effectiveLength: got ${tasks.join(', ') || 'no results'}, expected different RULER tasks`,
    );
  }
  const scores = results.map(
    ({ groups }) =>
      new Map(
        (groups.length ?? []).map(({ value, results }) => [value as number, results.string_match_all?.value]),
      ),
  );
  const all = [...new Set(scores.flatMap((byLength) => [...byLength.keys()]))].sort((a, b) => a - b);
  const lengths = all.map((length) => {
    const measured = scores.map((byLength) => byLength.get(length));
    const missing = tasks.find((_, index) => measured[index] === undefined);
    if (missing !== undefined) {
      throw new EvalsError(
        `effectiveLength: ${missing} has no score at ${length}, expected one in every task`,
      );
    }
    const score = measured.reduce<number>((sum, value) => sum + value!, 0) / measured.length;
    return { length, score, exceeds: score > threshold };
  });
  const below = lengths.findIndex(({ exceeds }) => !exceeds);
  const numGood = below === -1 ? lengths.length : below;
  return { effective: lengths[numGood - 1]?.length, lengths };
}

function promptsOf(
  task: RulerTaskName,
  length: number,
  { seed = 42, haystack = [], splitSentences: split = splitSentences, moreWords }: RulerOptions,
  tokenizer: TextTokenizer,
): Generator<RulerPrompt, undefined> | undefined {
  const count = (text: string) => tokenizer.encode(text).length;
  if (task === 'fwe') return frequentWordPrompts({ seed, length, count });
  const hay = () => ({ words: splitAtSpace(haystack.join('')), splitSentences: split });
  const source =
    task === 'vt'
      ? variableSource({ seed, length, count })
      : task === 'cwe'
        ? commonWordSource({ seed, length, count, moreWords })
        : needleSource(needleSettings[task], { seed, length, count, hay });
  return source && fittedPrompts(source, length);
}

function stringMatchAll(response: string, answers: readonly string[]): number {
  const text = response.toLowerCase();
  return (100 * answers.filter((answer) => text.includes(answer.toLowerCase())).length) / answers.length;
}

function isNeedle(task: RulerTaskName): task is keyof typeof needleSettings {
  return task in needleSettings;
}

function isEssay(task: RulerTaskName): boolean {
  return isNeedle(task) && needleSettings[task].haystack === 'essay';
}

function reasonToSkip(length: number, contextLength: number): string {
  return length > contextLength
    ? `a length of ${length} tokens, the model reads ${contextLength}`
    : `no prompt of ${length} tokens could be drawn`;
}

function requireOptions(task: RulerTaskName, { lengths, haystack = [] }: RulerOptions): void {
  if (!rulerTaskNames.includes(task)) {
    throw new EvalsError(`ruler: got task ${task}, expected one of ${rulerTaskNames.join(', ')}`);
  }
  const wrong = lengths.find((length) => !(Number.isInteger(length) && length >= 500));
  if (wrong !== undefined || lengths.length === 0) {
    throw new EvalsError(`ruler_${task}: lengths are wrong, got ${wrong ?? 'none'}, expected integers ≥ 500`);
  }
  if (isEssay(task) && haystack.join('').trim() === '') {
    throw new EvalsError(`ruler_${task}: the haystack is empty, expected texts such as Paul Graham's essays`);
  }
}
