/**
 * Multi-needle reasoning, M-RS of NeedleBench version 1 (Li et al. 2024, OpenCompass): facts in a long text, spread
 * out, of which the answer is put together.
 */
import { mean } from './aggregation.ts';
import { EvalsError } from './error.ts';
import type { Generation, TextTokenizer } from './language-model.ts';
import { askForText, excerpt, type PromptEncoding } from './prompt.ts';
import { PythonRandom } from './python-random.ts';
import { words } from './python-text.ts';
import { readRow } from './row-reader.ts';
import type { Task, TaskItem } from './task.ts';

/** Options of {@link multiNeedleTask}. */
export interface MultiNeedleOptions extends PromptEncoding {
  /** Texts of the haystack, such as Paul Graham's essays, in the order of OpenCompass's file. */
  readonly haystack: readonly string[];
  /** Tokens of a prompt and 3,000 kept free; 9,000 to 32,000 in eight steps when absent. */
  readonly lengths?: readonly number[];
  /** Places of the first fact in percent; 0 to 100 in eleven steps when absent. Each next one is 10 % further. */
  readonly depths?: readonly number[];
  /** Numbers of facts; 2, 3, 4 and 5 when absent. */
  readonly numNeedles?: readonly number[];
  /** Records asked in each cell of the grid; 10 when absent. */
  readonly numRepeats?: number;
  /** Most tokens of an answer; 2,000 when absent, as OpenCompass recommends. */
  readonly maxNewTokens?: number;
  /** Counts lengths and places facts; the model's own when absent. OpenCompass takes GPT-4's for every model. */
  readonly tokenizer?: TextTokenizer;
}

/** Kept free, as published. */
const BUFFER_TOKENS = 3000;
const STEP_PERCENT = 10;

/**
 * `needlebench_multi_reasoning`: `score` is 100 times the share of the answer's words that are in the response, small
 * letters both, in groups `needles`, `length` and `depth`.
 *
 * Records and the order of the texts are drawn as OpenCompass draws them, by Python's generator seeded with the number
 * of the repetition.
 *
 * @param records Records `{derivations, derivation_count, question, answer}`.
 * @throws EvalsError for records of another shape, a number of facts that no record has, an empty haystack.
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
    metrics: [{ name: 'score', higherIsBetter: true, aggregation: mean }],
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
    *items(model): Iterable<TaskItem> {
      const tokenizer = options.tokenizer ?? model.tokenizer;
      const texts = haystack.map((text) => tokenizer.encode(text));
      for (const { count, matching } of byCount) {
        for (const length of lengths) {
          for (const depth of depths) {
            const order = [...texts];
            for (let repeat = 0; repeat < numRepeats; repeat++) {
              // Shuffled on from the last order, so a repetition's order depends on all before it.
              new PythonRandom(repeat).shuffle(order);
              const { needles, question, answer } = new PythonRandom(repeat).choice(matching);
              const facts = needles.map((needle) => tokenizer.encode(`\n${needle}\n`));
              const room = Math.max(length - BUFFER_TOKENS - facts.flat().length, 0);
              const context = spread(firstTokens(order, room), facts, depth);
              const prompt = reasoningPrompt(tokenizer.decode(context), question);
              yield {
                id: `${count}-${length}-${depth}-${repeat}`,
                groups: { needles: count, length, depth },
                shown: { prompt: excerpt(prompt), needles, answer },
                ask: askForText(model, prompt, { maxNewTokens, bos }),
                measure: (answers) => ({
                  score: { value: keywordScore(answer, (answers as readonly Generation[])[0].text) },
                }),
              };
            }
          }
        }
      }
    },
  };
}

/**
 * The facts in the text: the first at `depth` percent, each next one 10 % of the text further, none past the end.
 *
 * As published, the length of a fact shifts each later one twice: once in its place, once as it is put in.
 */
function spread(text: readonly number[], facts: readonly (readonly number[])[], depth: number): number[] {
  const places: number[] = [];
  let before = 0;
  for (const [index, fact] of facts.entries()) {
    const place =
      index === 0
        ? Math.trunc(text.length * (depth / 100))
        : Math.trunc(places[index - 1] + facts[index - 1].length + text.length * (STEP_PERCENT / 100));
    places.push(Math.min(place, text.length + before));
    before += fact.length;
  }
  const result = [...text];
  let shift = 0;
  for (const [index, fact] of facts.entries()) {
    result.splice(places[index] + shift, 0, ...fact);
    shift += fact.length;
  }
  return result;
}

function firstTokens(texts: readonly (readonly number[])[], count: number): number[] {
  const ids: number[] = [];
  for (const text of texts) {
    // At least one text, as published, though with no room nothing of it stays.
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
  // The published order of operations: 100 by the number of words, then times those found.
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
