/** One continuation of a text: `loglikelihood` of lm-evaluation-harness 0.4.13. */
import { mean, perplexity } from './aggregation.ts';
import { scorePairs } from './encode-pair.ts';
import type { Score } from './language-model.ts';
import { type HarnessOptions, logOfScores } from './multiple-choice.ts';
import { type PromptLayout, promptsOf } from './prompt-turns.ts';
import type { Task, TaskItem } from './task.ts';

/** A task of continuations, without rows. */
export interface Continuation extends PromptLayout {
  readonly version: number;
  /** Reads a text and its continuation from a row; `where` names the row. */
  readonly read: (row: unknown, where: string) => readonly [text: string, continuation: string];
}

/** `acc` is 1 if greedy decoding gives the continuation; `perplexity` is per row. */
export function continuationTask(
  definition: Continuation,
  rows: readonly unknown[],
  options: HarnessOptions,
): Task {
  const { name, version, read } = definition;
  const { bos = false } = options;
  const prompts = promptsOf(definition, options, rows, (row, where) => {
    const [question, answer] = read(row, where);
    return { question, answer };
  });
  return {
    name,
    version,
    metrics: [
      { name: 'perplexity', higherIsBetter: false, aggregation: perplexity },
      { name: 'acc', higherIsBetter: true, aggregation: mean },
    ],
    config: { output_type: 'loglikelihood', ...prompts.config, bos },
    numItems: rows.length,
    *items(model): Iterable<TaskItem> {
      const next = prompts.start(model);
      for (const [index, row] of rows.entries()) {
        const [text, continuation] = read(row, `${name}, row ${index}`);
        const pair = [next(row)(text), continuation] as const;
        yield {
          id: String(index),
          shown: { pairs: [pair] },
          log: (answers) => [logOfScores(row, continuation, [pair], answers as readonly Score[])],
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
