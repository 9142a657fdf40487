/** Summaries that say what the article does not (Table 4 of the MEAP paper). */
import type { Judge } from './judge.ts';
import type { Generation } from './language-model.ts';
import { PythonRandom } from './python-random.ts';
import { readRow } from './row-reader.ts';
import type { Task } from './task.ts';

/** What {@link contextualHallucination} is told. */
export interface ContextualHallucinationOptions {
  /** Name of the data set, which the task's name ends in: `xsum`. */
  readonly dataSet: string;
  /** Records with an article and a person's summary of it, as XSum, Multi-News (also LongBench's) and WikiSum have them. */
  readonly rows: readonly unknown[];
  /** How many of them are drawn at random, in the order in which they are drawn; all are asked in order when absent. */
  readonly numArticles?: number;
  /** Of the draw; 0 when absent. */
  readonly seed?: number;
  readonly judge: Judge;
  /** Text around the instruction, which stands for `{instruction}`: the template a model was tuned with. */
  readonly promptTemplate?: string;
  /** Longest summary in tokens, 256 by default. */
  readonly maxNewTokens?: number;
}

/** Fields by data set: article, then summary. */
const FIELDS = [
  ['document', 'summary'],
  ['article', 'highlights'],
  ['article', 'summary'],
  ['context', 'answers'],
] as const;

/**
 * Has a model summarise articles, greedily, with `Summarize the following article: {doc}`, and a judge say whether the
 * summaries keep to them.
 *
 * Rows are drawn as Python's `random.Random(seed).sample(range(rows), n)` draws them; a sample's id is its row.
 * The metrics are the judge's; what it said of a summary is shown with the sample as `judgement`. Prompts that leave no
 * room for the summary are skipped.
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
            // The runner reads `shown` when it has the numbers.
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
    // LongBench lists the answers that count.
    reference: summary === 'answers' ? row.texts(summary)[0] : row.text(summary),
  };
}
