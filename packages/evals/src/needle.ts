/**
 * Needle in a haystack (Kamradt 2023): one sentence in a long text, and a question about it at the end.
 *
 * Placement, prompt for base models and scores are those of Fu et al. 2024 (Long-Context-Data-Engineering,
 * `eval/needle`), which long-context papers use, including MEAP's Table 2 and Figure 3.
 */
import { means } from './aggregation.ts';
import { EvalsError } from './error.ts';
import type { TextTokenizer } from './language-model.ts';
import { fill, type PromptEncoding, textItem } from './prompt.ts';
import { strip } from './python-text.ts';
import { rouge1, tokensFor, unigramOverlap } from './rouge.ts';
import { FOREIGN_CLOSING, FOREIGN_STOP } from './sentence-end.ts';
import type { Task, TaskItem } from './task.ts';

/** A hidden sentence and its question. */
export interface Needle {
  /** The hidden text, including line breaks around it. */
  readonly needle: string;
  readonly question: string;
  /** The correct answer. */
  readonly answer: string;
}

/** Options of {@link needleTask}. */
export interface NeedleOptions extends PromptEncoding {
  /** Texts of the haystack in order, such as Paul Graham's essays sorted by file name; repeated as needed. */
  readonly haystack: readonly string[];
  /** Tokens of haystack and needle, plus 200 free ones for question and answer. */
  readonly lengths: readonly number[];
  /** Positions in percent of the haystack, 0 to 100. */
  readonly depths: readonly number[];
  /** Default {@link sanFrancisco}. */
  readonly needles?: readonly Needle[];
  /** Prompt with `{context}` and `{question}`; by default the one for base models. */
  readonly template?: string;
  /** Default 50. */
  readonly maxNewTokens?: number;
}

/** The usual needle. */
export const sanFrancisco: Needle = {
  needle:
    '\nThe best thing to do in San Francisco is eat a sandwich and sit in Dolores Park on a sunny day.\n',
  question: 'What is the best thing to do in San Francisco?',
  answer: 'eat a sandwich and sit in Dolores Park on a sunny day',
};

const BASE_MODEL_PROMPT =
  '<|im_start|> This is a very long story book: <book> {context} </book>.\n Based on the content of the book, Question: {question}\nAnswer:';

/** Free tokens for the question and its answer. */
const BUFFER_TOKENS = 200;

/** Tokens by which a needle moves back at most; no English sentence is as long. */
const MAX_MOVE = 1000;

/** Percent between the depth of a needle and one of `depths` that still stands for it. */
const DEPTH_TOLERANCE = 5;

/**
 * `niah`: every needle at every depth of every length, in groups `length` and `depth`.
 *
 * A needle moves back to the end of a sentence, by at most 1,000 tokens; without one it stays, between two characters. Its
 * group is the nearest of `depths` if that is within 5 points of the depth that it has, otherwise that depth.
 *
 * `rouge1_recall` is ROUGE-1 recall of the answer, `rouge1_f1` the F1 against the needle, `unigram_overlap` the share
 * of the answer's words as in Fu et al.; all from 0 to 1. ROUGE of an answer without Latin letters and digits counts the
 * words of its script.
 *
 * @throws EvalsError for an empty grid, a depth out of range, a length without room for the needle (from `items`), a
 *   template without its fields, a haystack without text
 */
export function needleTask(options: NeedleOptions): Task {
  const { haystack, lengths, depths, needles = [sanFrancisco], template = BASE_MODEL_PROMPT } = options;
  const { maxNewTokens = 50, bos = true } = options;
  requireGrid({ lengths, depths, needles });
  if (!(template.includes('{context}') && template.includes('{question}'))) {
    throw new EvalsError(`niah: template lacks {context} or {question}, got ${JSON.stringify(template)}`);
  }
  return {
    name: 'niah',
    version: 2,
    metrics: means(['rouge1_recall', 'rouge1_f1', 'unigram_overlap']),
    config: {
      lengths,
      depths,
      needles,
      template,
      buffer_tokens: BUFFER_TOKENS,
      max_new_tokens: maxNewTokens,
      bos,
    },
    numItems: lengths.length * depths.length * needles.length,
    numQuestions: needles.length,
    *items(model, maxQuestions): Iterable<TaskItem> {
      const { tokenizer } = model;
      const hay = repeatedHaystack(haystack, Math.max(...lengths), tokenizer);
      const ends = sentenceEnds(hay, tokenizer);
      for (const length of lengths) {
        for (const depth of depths) {
          for (const [index, { needle, question, answer }] of needles.slice(0, maxQuestions).entries()) {
            const hidden = hide(hay, tokenizer.encode(needle), { length, depth, ends });
            const prompt = fill(template, { context: tokenizer.decode(hidden.context), question });
            const id = `${length}-${depth}-${index}`;
            const groups = { length, depth: labelOf(hidden.depth, depths) };
            const shown = { needle, answer, depth: hidden.depth };
            const row = { id, groups, shown, prompt, maxNewTokens, bos };
            yield textItem(model, row, (text) => {
              const response = strip(text);
              return {
                rouge1_recall: rouge1(answer, response, tokensFor(answer)).recall,
                rouge1_f1: rouge1(needle, response, tokensFor(needle)).f1,
                // The answer of Fu et al. includes the full stop.
                unigram_overlap: unigramOverlap(`${answer}.`, response),
              };
            });
          }
        }
      }
    },
  };
}

/** Positions of a haystack where a needle may be. */
interface SentenceEnds {
  /** Whether there is any end of a sentence. */
  readonly exist: boolean;
  isSentenceEnd(position: number): boolean;
  isCharacterEnd(position: number): boolean;
}

/** Ids of a haystack with a needle, together `length` − 200, and the needle's depth in percent. */
function hide(
  hay: readonly number[],
  needle: readonly number[],
  { length, depth, ends }: { length: number; depth: number; ends: SentenceEnds },
): { context: number[]; depth: number } {
  const room = length - BUFFER_TOKENS - needle.length;
  if (room < 1) {
    throw new EvalsError(
      `niah: length is too small, got ${length}, expected more than ${length - room} for ${BUFFER_TOKENS} free tokens and the needle`,
    );
  }
  const context = hay.slice(0, room);
  if (depth === 100) return { context: [...context, ...needle], depth };
  const wanted = Math.trunc(context.length * (depth / 100));
  let position = wanted;
  if (ends.exist) {
    // The first sentence starts at 0.
    while (position > 0 && wanted - position <= MAX_MOVE && !ends.isSentenceEnd(position)) position--;
  }
  if (!ends.exist || wanted - position > MAX_MOVE) {
    position = wanted;
    while (!ends.isCharacterEnd(position)) position--;
  }
  return { context: context.toSpliced(position, 0, ...needle), depth: (100 * position) / context.length };
}

function labelOf(depth: number, depths: readonly number[]): number {
  const nearest = depths.reduce((a, b) => (Math.abs(b - depth) < Math.abs(a - depth) ? b : a));
  return Math.abs(nearest - depth) <= DEPTH_TOLERANCE ? nearest : Math.round(depth);
}

/** Repeats the texts to at least `numTokens` tokens. */
function repeatedHaystack(
  texts: readonly string[],
  numTokens: number,
  tokenizer: TextTokenizer,
): readonly number[] {
  const once = texts.join('');
  let ids = tokenizer.encode(once);
  if (ids.length === 0) throw new EvalsError('niah: the haystack is empty, expected texts');
  const numTimes = Math.ceil(numTokens / ids.length);
  // Tokens may span two repetitions, so more may be needed.
  for (let times = numTimes; ids.length < numTokens; times++) ids = tokenizer.encode(once.repeat(times));
  return ids;
}

/** Finds ends of sentences: after a full stop, as published, or after a mark of another script. */
function sentenceEnds(hay: readonly number[], tokenizer: TextTokenizer): SentenceEnds {
  const periods = periodIds(tokenizer);
  const endsWithStop = new RegExp(String.raw`${FOREIGN_STOP}(?:${FOREIGN_CLOSING}|\s)*$`, 'u');
  const isForeign = new RegExp(FOREIGN_STOP, 'u').test(tokenizer.decode(hay));
  // A character may be four tokens of a byte each. Positions are asked for again at each length.
  const before = (position: number) => tokenizer.decode(hay.slice(Math.max(0, position - 4), position));
  const known = new Map<number, boolean>();
  return {
    exist: isForeign || hay.some((id) => periods.has(id)),
    isSentenceEnd(position) {
      if (periods.has(hay[position - 1])) return true;
      if (!isForeign) return false;
      const found = known.get(position) ?? endsWithStop.test(before(position));
      known.set(position, found);
      return found;
    },
    isCharacterEnd: (position) => position <= 0 || !before(position).endsWith('\ufffd'),
  };
}

/** Ids of a full stop at the start of a text and after a word, which differ in SentencePiece vocabularies. */
function periodIds(tokenizer: TextTokenizer): Set<number> {
  return new Set(['.', 'end.'].map((text) => tokenizer.encode(text).at(-1)!));
}

function requireGrid(grid: Readonly<Record<'lengths' | 'depths' | 'needles', readonly unknown[]>>): void {
  for (const [name, values] of Object.entries(grid)) {
    if (values.length === 0) throw new EvalsError(`niah: ${name} is empty, expected at least one`);
  }
  const wrong = grid.depths.find((depth) => !((depth as number) >= 0 && (depth as number) <= 100));
  if (wrong !== undefined) {
    throw new EvalsError(`niah: a depth is out of range, got ${wrong}, expected 0 to 100 percent`);
  }
}
