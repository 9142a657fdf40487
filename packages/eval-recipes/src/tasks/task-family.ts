/** The declarations in this folder: tasks of one kind with their settings and data. */
import type { AnswerStore, JudgeUsage, PromptOptions, Task } from '@meap/evals';
import type { HubEvent } from '@meap/hub';
import type { Refusals } from '@meap/recipe-cli';
import type { z } from 'zod';
import type { DataSet } from './data-sets.ts';

/** Progress of a judge; `usage` is the total of all judgements. */
export interface JudgeEvent {
  readonly type: 'judge';
  readonly numJudged: number;
  readonly usage: JudgeUsage;
}

/** The inputs of a task. */
export interface TaskSources<DataName extends string = string, Settings = unknown> {
  /** Files of the task's data sets. */
  readonly files: Readonly<Record<DataName, readonly string[]>>;
  /** The folder that is searched for data sets, for tasks that do not name theirs in `data`. */
  readonly folder?: string;
  /** The family's section of the recipe. */
  readonly settings: Settings;
  /** Whether prompts start with BOS; undefined for the published setting. */
  readonly bos?: boolean;
  /** Examples and chat template, for tasks with `prompts`; `fewshotRows` is for the task to read. */
  readonly prompts?: PromptOptions;
  /** Ids of the held-out rows of a training run for tasks with `readsHeldOut`. */
  readonly heldOut?: readonly (readonly number[])[];
  /** Random seed; undefined for that of the published task. */
  readonly seed?: number;
  /** Caches judgements. */
  readonly judgements?: AnswerStore;
  readonly signal?: AbortSignal;
  /** Called with the progress of downloads. */
  readonly onDownload?: (event: HubEvent) => void;
  /** Called with the files of a data set, by its name, before they are read. */
  readonly onFiles?: (dataSet: string, files: readonly string[]) => void;
  /** Called synchronously for each judgement; must not throw. */
  readonly onEvent?: (event: JudgeEvent) => void;
}

/** A task before its data are loaded. */
export interface TaskEntry<DataName extends string = string, Settings = unknown> {
  /** What the task measures, in one line. */
  readonly description: string;
  /** Names of its data sets. */
  readonly data: readonly DataName[];
  /** Whether it reads `heldOut`, if there is any, instead of its data sets. */
  readonly readsHeldOut?: boolean;
  /**
   * For tasks of lm-evaluation-harness, whose prompts may have examples and a chat template: the data set of the examples,
   * needed only with examples, or `rows` for rows that need none: the evaluated ones, or those of the task; absent for a task
   * without examples.
   */
  readonly prompts?: { readonly examples?: DataName | 'rows'; readonly numFewshot?: number };
  /** Creates the task, or several tasks of the same kind. */
  make(sources: TaskSources<DataName, Settings>): Promise<Task | Task[]>;
}

/** Tasks of one kind. */
export interface TaskFamily<DataName extends string = string, Schema extends z.ZodType = z.ZodType> {
  /** Data sets by their name in the section `data` of a recipe. */
  readonly data: Readonly<Record<DataName, DataSet>>;
  /** Schema of the section with the family's name. */
  readonly settings?: Schema;
  /** Validates settings beyond the schema; `path` is the path of the section. */
  check?(settings: z.output<Schema>, path: string, refusals: Refusals): void;
  readonly tasks: Readonly<Record<string, TaskEntry<DataName, z.output<Schema>>>>;
  /** Returns the title of a task in reports; undefined for tasks of other families. */
  title?(task: string): string | undefined;
}

/** Infers the types of a family from its data and its schema. */
export function taskFamily<const DataName extends string, Schema extends z.ZodType>(
  family: TaskFamily<DataName, Schema>,
): TaskFamily<DataName, Schema> {
  return family;
}
