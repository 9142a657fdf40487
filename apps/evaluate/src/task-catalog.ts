/** Every task by name: what it measures, what data it needs, how it is made from them. */
import { lambadaTask, multipleChoiceTask, perplexityTask, type Task, zeroShot } from '@meap/evals';
import type { EvaluateConfig } from './config.ts';
import { DATA_SETS, type DataSetName } from './data-sets.ts';
import { type DataFiles, readRows, readTexts } from './find-data.ts';

/** A task before its data are read. */
export interface TaskEntry {
  /** What it measures, in one line. */
  readonly description: string;
  /** Data sets that it reads. */
  readonly data: readonly DataSetName[];
  make(files: Required<DataFiles>, config: EvaluateConfig): Promise<Task>;
}

function zeroShotEntry(name: keyof typeof zeroShot, description: string): TaskEntry {
  return {
    description,
    data: [name],
    make: async (files, { bos }) => multipleChoiceTask(zeroShot[name], await readRows(files[name]), { bos }),
  };
}

/** The tasks, in the order in which `list` shows them. */
export const TASKS = {
  arc_easy: zeroShotEntry('arc_easy', 'science questions of grade school, the easy ones'),
  arc_challenge: zeroShotEntry('arc_challenge', 'science questions of grade school, the hard ones'),
  boolq: zeroShotEntry('boolq', 'yes or no after a passage'),
  hellaswag: zeroShotEntry('hellaswag', 'how a scene goes on'),
  openbookqa: zeroShotEntry('openbookqa', 'science questions that need a fact and common sense'),
  piqa: zeroShotEntry('piqa', 'which of two ways to do a thing works'),
  winogrande: zeroShotEntry('winogrande', 'whom a pronoun means'),
  social_iqa: zeroShotEntry('social_iqa', 'why people do what they do'),
  lambada_openai: {
    description: 'the last word of a passage',
    data: ['lambada_openai'],
    make: async (files, { bos }) => lambadaTask(await readRows(files.lambada_openai), { bos }),
  },
  perplexity: {
    description: 'perplexity and bits per byte of texts',
    data: ['texts'],
    make: async (files) => perplexityTask(await readTexts(files.texts)),
  },
} as const satisfies Record<string, TaskEntry>;

/** Name of a task. */
export type TaskName = keyof typeof TASKS;

/** Where a task's data come from, for people. */
export function describeData({ data }: TaskEntry): string {
  return data.map((name) => `${DATA_SETS[name].what} (${DATA_SETS[name].source})`).join('; ');
}
