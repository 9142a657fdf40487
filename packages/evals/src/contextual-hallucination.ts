/** Contextual hallucination in summaries of articles (Table 4 of the MEAP paper). */
import type { Judge } from './judge.ts';
import type { Generation } from './language-model.ts';
import { PythonRandom } from './python-random.ts';
import { readRow } from './row-reader.ts';
import type { Task } from './task.ts';

/** Options of {@link contextualHallucination}. */
export interface ContextualHallucinationOptions {
  /** Name of the data set, the end of the task's name: `xsum`. */
  readonly dataSet: string;
  /** Records with an article and a human summary, as in XSum, Multi-News (also LongBench's) and WikiSum. */
  readonly rows: readonly unknown[];
  /** Number of rows to draw at random, in the order of the draw; by default all rows in order. */
  readonly numArticles?: number;
  /** Seed of the draw; default 0. */
  readonly seed?: number;
  readonly judge: Judge;
  /** Template around `{instruction}`, such as the one that a model was tuned with. */
  readonly promptTemplate?: string;
  /** Maximum tokens of a summary; default 256. */
  readonly maxNewTokens?: number;
}

/** Fields of article and summary in the known data sets. */
const FIELDS = [
  ['document', 'summary'],
  ['article', 'highlights'],
  ['article', 'summary'],
  ['context', 'answers'],
] as const;

/**
 * A model summarizes articles, greedily, with `Summarize the following article: {doc}`, and a judge decides whether the
 * summaries are faithful.
 *
 * Rows are drawn as by Python's `random.Random(seed).sample(range(rows), n)`; a sample's id is its row. The metrics are
 * the judge's, and its explanation is shown with the sample as `judgement`. Prompts without room for the summary are
 * skipped.
 *
 * @throws EvalsError (from `items`) for a row without article or summary
 */
export function contextualHallucination(options: ContextualHallucinationOptions): Task {
  const { dataSet, rows, numArticles, seed = 0, judge } = options;
  const { promptTemplate = '{instruction}', maxNewTokens = 256 } = options;
  const chosen =
    numArticles === undefined
      ? rows.map((_, index) => index)
      : new PythonRandom(seed).sampleRange(rows.length, Math.min(numArticles, rows.length));
  return {
    name: `hallucination_${dataSet}`,
    version: 1,
    metrics: judge.metrics,
    config: {
      dataSet,
      ...(numArticles === undefined ? {} : { numArticles, seed }),
      promptTemplate,
      maxNewTokens,
      ...judge.config,
    },
    numItems: chosen.length,
    *items({ tokenizer, contextLength }) {
      for (const index of chosen) {
        const { article, reference } = readArticle(`${dataSet}, row ${index}`, rows[index]);
        const instruction = `Summarize the following article: ${article}`;
        const text = promptTemplate.split('{instruction}').join(instruction);
        const prompt = tokenizer.encode(text);
        const room = contextLength - prompt.length;
        const shown: Record<string, unknown> = { prompt: text, reference };
        yield {
          id: `${index}`,
          shown,
          ask:
            room < maxNewTokens
              ? {
                  kind: 'skip',
                  reason: `prompt of ${prompt.length} tokens leaves ${Math.max(0, room)} of ${contextLength}, expected ${maxNewTokens}`,
                }
              : { kind: 'generate', requests: [{ prompt, maxNewTokens }] },
          async measure(answers) {
            const output = (answers[0] as Generation).text.trim();
            const { measured, explanation } = await judge.judge({ output, article, reference });
            // The runner reads `shown` after measuring.
            shown.judgement = explanation;
            return measured;
          },
        };
      }
    },
  };
}

function readArticle(where: string, record: unknown): { article: string; reference: string } {
  const row = readRow(where, record);
  const [article, summary] = FIELDS.find((fields) => row.has(...fields)) ?? FIELDS[0];
  return {
    article: row.text(article),
    // LongBench has a list of accepted answers.
    reference: summary === 'answers' ? row.texts(summary)[0] : row.text(summary),
  };
}
