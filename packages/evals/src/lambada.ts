/** LAMBADA: the last word of a passage, which only the whole passage predicts (Paperno et al. 2016). */
import { continuationTask } from './continuation.ts';
import type { HarnessOptions } from './multiple-choice.ts';
import { readRow } from './row-reader.ts';
import type { Task } from './task.ts';

/** The variants, which differ in their rows: OpenAI's, the published ones, and translations of OpenAI's. */
export const lambadaNames = [
  'lambada_openai',
  'lambada_standard',
  'lambada_openai_mt_de',
  'lambada_openai_mt_en',
  'lambada_openai_mt_es',
  'lambada_openai_mt_fr',
  'lambada_openai_mt_it',
] as const;

/** A variant of LAMBADA. */
export type LambadaName = (typeof lambadaNames)[number];

/** Options of {@link lambadaTask}. */
export interface LambadaOptions extends HarnessOptions {
  /** Default `lambada_openai`. */
  readonly name?: LambadaName;
}

/**
 * LAMBADA as in lm-evaluation-harness 0.4.13: `acc` is 1 if greedy decoding gives the last word, `perplexity` is per word.
 *
 * Examples are rows of the same split, as there, so that one of them may be the row itself; those of `lambada_standard` are
 * rows of its validation split, `fewshotRows`.
 *
 * @param rows records `{text}`, split at the last space, or `{context, continuation}`
 * @throws EvalsError (from `items`) for a row of another shape, naming row and field
 */
export function lambadaTask(
  rows: readonly unknown[],
  { name = 'lambada_openai', ...options }: LambadaOptions = {},
): Task {
  const split = name === 'lambada_standard' ? 'validation' : 'test';
  return continuationTask({ name, version: 1, examples: { split }, read: readPassage }, rows, options);
}

function readPassage(record: unknown, where: string): [context: string, continuation: string] {
  const row = readRow(where, record);
  if (row.has('continuation')) return [row.text('context'), ` ${row.text('continuation')}`];
  const words = row.text('text').split(' ');
  return [words.slice(0, -1).join(' '), ` ${words.at(-1)}`];
}
