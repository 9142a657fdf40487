/**
 * Multi-needle reasoning, M-RS of NeedleBench version 1 (Li et al. 2024, OpenCompass): the answer combines facts that
 * are spread over a long text.
 */
import { means } from './aggregation.ts';
import { EvalsError } from './error.ts';
import type { TextTokenizer } from './language-model.ts';
import { type PromptEncoding, textItem } from './prompt.ts';
import { PythonRandom } from './python-random.ts';
import { words } from './python-text.ts';
import { readRow } from './row-reader.ts';
import type { Task, TaskItem } from './task.ts';

/** Options of {@link multiNeedleTask}. */
export interface MultiNeedleOptions extends PromptEncoding {
  /** Texts of the haystack, such as Paul Graham's essays, in the order of OpenCompass's file. */
  readonly haystack: readonly string[];
  /** Tokens of a prompt plus 3,000 free ones; default 9,000 to 32,000 in eight steps. */
  readonly lengths?: readonly number[];
  /** Depths of the first fact in percent, each later one 10 % deeper; default 0 to 100 in eleven steps. */
  readonly depths?: readonly number[];
  /** Numbers of facts; default 2, 3, 4 and 5. */
  readonly numNeedles?: readonly number[];
  /** Records in each cell of the grid; default 10. */
  readonly numRepeats?: number;
  /** Maximum tokens of an answer; default 2,000, as OpenCompass recommends. */
  readonly maxNewTokens?: number;
  /** Tokenizer of lengths and depths; by default the model's. OpenCompass uses GPT-4's for every model. */
  readonly tokenizer?: TextTokenizer;
}

/** Free tokens, as published. */
const BUFFER_TOKENS = 3000;
const STEP_PERCENT = 10;

/**
 * `needlebench_multi_reasoning`: `score` is 100 times the share of the answer's words that are in the response, in lower
 * case, in groups `needles`, `length` and `depth`.
 *
 * Records and the order of the texts are drawn as in OpenCompass, by Python's generator with the index of the repetition
 * as seed.
 *
 * @param records records `{derivations, derivation_count, question, answer}`
 * @throws EvalsError for records of another shape, a number of facts that no record has, an empty haystack
 */
export function multiNeedleTask(records: readonly unknown[], options: MultiNeedleOptions): Task {
  const { haystack, lengths = [9000, 13000, 17000, 21000, 25000, 29000, 31000, 32000] } = options;
  const { depths = [0, 10, 21, 31, 42, 52, 63, 73, 84, 94, 100], numNeedles = [2, 3, 4, 5] } = options;
  const { numRepeats = 10, maxNewTokens = 2000, bos = true } = options;
  const name = 'needlebench_multi_reasoning';
  const questions = records.map((record, index) => readRecord(`${name}, row ${index}`, record));
  const byCount = numNeedles.map((count) => {
    const matching = questions.filter(({ derivationCount }) => derivationCount === count);
    if (matching.length === 0) throw new EvalsError(`${name}: no record has ${count} derivations`);
    return { count, matching };
  });
  if (haystack.length === 0) throw new EvalsError(`${name}: the haystack is empty, expected texts`);
  return {
    name,
    version: 1,
    metrics: means(['score']),
    config: {
      lengths,
      depths,
      num_needles: numNeedles,
      num_repeats: numRepeats,
      buffer_tokens: BUFFER_TOKENS,
      step_percent: STEP_PERCENT,
      length_tokenizer: options.tokenizer === undefined ? 'model' : 'given',
      max_new_tokens: maxNewTokens,
      bos,
    },
    numItems: numNeedles.length * lengths.length * depths.length * numRepeats,
    numQuestions: numRepeats,
    *items(model, maxQuestions = numRepeats): Iterable<TaskItem> {
      const tokenizer = options.tokenizer ?? model.tokenizer;
      const texts = haystack.map((text) => tokenizer.encode(text));
      for (const { count, matching } of byCount) {
        for (const length of lengths) {
          for (const depth of depths) {
            const order = [...texts];
            for (let repeat = 0; repeat < Math.min(numRepeats, maxQuestions); repeat++) {
              // The previous order is shuffled further, as published.
              new PythonRandom(repeat).shuffle(order);
              const { needles, question, answer } = new PythonRandom(repeat).choice(matching);
              const facts = needles.map((needle) => tokenizer.encode(`\n${needle}\n`));
              const room = Math.max(length - BUFFER_TOKENS - facts.flat().length, 0);
              const context = spread(firstTokens(order, room), facts, depth);
              const prompt = reasoningPrompt(tokenizer.decode(context), question);
              const id = `${count}-${length}-${depth}-${repeat}`;
              const groups = { needles: count, length, depth };
              const row = { id, groups, shown: { needles, answer }, prompt, maxNewTokens, bos };
              yield textItem(model, row, (text) => ({ score: keywordScore(answer, text) }));
            }
          }
        }
      }
    },
  };
}

/**
 * Inserts facts into a text: the first at `depth` percent, each later one 10 % of the text further, none past the end.
 *
 * As published, the length of a fact shifts each later one twice: in its position and in its insertion.
 */
function spread(text: readonly number[], facts: readonly (readonly number[])[], depth: number): number[] {
  const result = [...text];
  let position = 0;
  let before = 0;
  for (const [index, fact] of facts.entries()) {
    const next =
      index === 0
        ? text.length * (depth / 100)
        : position + facts[index - 1].length + text.length * (STEP_PERCENT / 100);
    position = Math.min(Math.trunc(next), text.length + before);
    result.splice(position + before, 0, ...fact);
    before += fact.length;
  }
  return result;
}

function firstTokens(texts: readonly (readonly number[])[], count: number): number[] {
  const ids: number[] = [];
  for (const text of texts) {
    // At least one text, as published; without room nothing of it remains.
    for (const id of text) ids.push(id);
    if (ids.length >= count) break;
  }
  return ids.slice(0, count);
}

function reasoningPrompt(context: string, question: string): string {
  return `You are an intelligent AI assistant skilled in answering user questions.\nPlease keep your answers concise and clear. Do not talk about irrelevant topics or repeat your answers.\nThe document given to you by the user is ${context}\n\nNow, the question is: ${question}Before answering, please consider what in the document is most relevant to this question.`;
}

function keywordScore(answer: string, response: string): number {
  const keywords = words(answer.toLowerCase());
  const text = response.toLowerCase();
  // The published order of operations: 100 divided by the number of words, times those found.
  return keywords.filter((word) => text.includes(word)).length * (100 / Math.max(keywords.length, 1));
}

function readRecord(where: string, record: unknown) {
  const row = readRow(where, record);
  return {
    needles: row.texts('derivations'),
    derivationCount: row.integer('derivation_count', 0, 1000),
    question: row.text('question'),
    answer: row.text('answer'),
  };
}
