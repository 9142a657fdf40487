/** LAMBADA: the last word of a passage, which only the whole passage predicts (Paperno et al. 2016). */
import { mean, perplexity } from './aggregation.ts';
import { scorePairs } from './encode-pair.ts';
import type { Score } from './language-model.ts';
import type { HarnessOptions } from './multiple-choice.ts';
import { promptsOf } from './prompt-turns.ts';
import { readRow } from './row-reader.ts';
import type { Task, TaskItem } from './task.ts';

/**
 * LAMBADA as `lambada_openai` of lm-evaluation-harness 0.4.13: `acc` is 1 if greedy decoding gives the last word,
 * `perplexity` is per word.
 *
 * Examples are rows of the same split, as there, so that one of them may be the row itself.
 *
 * @param rows records `{text}`, split at the last space, or `{context, continuation}`
 * @throws EvalsError (from `items`) for a row of another shape, naming row and field
 */
export function lambadaTask(rows: readonly unknown[], options: HarnessOptions = {}): Task {
  const name = 'lambada_openai';
  const { bos = false } = options;
  const layout = { name, examples: { split: 'test' } };
  const prompts = promptsOf(layout, options, rows, (row, where) => {
    const [question, answer] = readPassage(where, row);
    return { question, answer };
  });
  return {
    name,
    version: 1,
    metrics: [
      { name: 'perplexity', higherIsBetter: false, aggregation: perplexity },
      { name: 'acc', higherIsBetter: true, aggregation: mean },
    ],
    config: { output_type: 'loglikelihood', ...prompts.config, bos },
    numItems: rows.length,
    *items(model): Iterable<TaskItem> {
      const next = prompts.start(model);
      for (const [index, record] of rows.entries()) {
        const [passage, word] = readPassage(`${name}, row ${index}`, record);
        const pair = [next(record)(passage), word] as const;
        yield {
          id: String(index),
          shown: { pairs: [pair] },
          ask: scorePairs(model, [pair], { bos, isChat: options.applyChatTemplate }),
          measure(answers) {
            const [{ logLikelihood, isGreedy }] = answers as readonly Score[];
            return { perplexity: { value: logLikelihood }, acc: { value: Number(isGreedy) } };
          },
        };
      }
    },
  };
}

function readPassage(where: string, record: unknown): [context: string, continuation: string] {
  const row = readRow(where, record);
  if (row.has('continuation')) return [row.text('context'), ` ${row.text('continuation')}`];
  const words = row.text('text').split(' ');
  return [words.slice(0, -1).join(' '), ` ${words.at(-1)}`];
}
