/** LAMBADA: the last word of a passage, which only the whole passage predicts (Paperno et al. 2016). */
import { continuationTask } from './continuation.ts';
import type { HarnessOptions } from './multiple-choice.ts';
import { readRow } from './row-reader.ts';
import type { Task } from './task.ts';

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
  const definition = { name: 'lambada_openai', version: 1, examples: { split: 'test' }, read: readPassage };
  return continuationTask(definition, rows, options);
}

function readPassage(record: unknown, where: string): [context: string, continuation: string] {
  const row = readRow(where, record);
  if (row.has('continuation')) return [row.text('context'), ` ${row.text('continuation')}`];
  const words = row.text('text').split(' ');
  return [words.slice(0, -1).join(' '), ` ${words.at(-1)}`];
}
