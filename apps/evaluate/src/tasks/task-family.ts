/** What a file of this folder declares: tasks of one kind, the settings and the data that they need. */
import type { AnswerStore, JudgeUsage, Task } from '@meap/evals';
import type { Refusals } from '@meap/recipe-cli';
import type { z } from 'zod';
import type { DataSet } from './data-sets.ts';

/** A judge has judged one more text; `usage` is what all judgements have taken. */
export interface JudgeEvent {
  readonly type: 'judge';
  readonly numJudged: number;
  readonly usage: JudgeUsage;
}

/** What a task is made from. */
export interface TaskSources<DataName extends string = string, Settings = unknown> {
  /** Files of the data sets that the task reads. */
  readonly files: Readonly<Record<DataName, readonly string[]>>;
  /** The section of the recipe that has the family's name. */
  readonly settings: Settings;
  /** Whether BOS stands before each prompt; as published where undefined. */
  readonly bos?: boolean;
  /** Key of what the task draws; that of the published task where undefined. */
  readonly seed?: number;
  /** Keeps judgements from run to run. */
  readonly judgements?: AnswerStore;
  readonly signal?: AbortSignal;
  /** Called for each judgement. */
  readonly onEvent?: (event: JudgeEvent) => void;
}

/** A task before its data are read. */
export interface TaskEntry<DataName extends string = string, Settings = unknown> {
  /** What it measures, in one line. */
  readonly description: string;
  /** Data sets that it reads. */
  readonly data: readonly DataName[];
  /** One task, or several of one kind. */
  make(sources: TaskSources<DataName, Settings>): Promise<Task | Task[]>;
}

/** Tasks of one kind. */
export interface TaskFamily<DataName extends string = string, Schema extends z.ZodType = z.ZodType> {
  /** Data sets by the name that `data.NAME` gives them in a recipe. */
  readonly data: Readonly<Record<DataName, DataSet>>;
  /** The section of a recipe that has the family's name, if it has one. */
  readonly settings?: Schema;
  /** Refuses settings that the schema cannot: `path` is that of the section. */
  check?(settings: z.output<Schema>, path: string, refusals: Refusals): void;
  readonly tasks: Readonly<Record<string, TaskEntry<DataName, z.output<Schema>>>>;
  /** What a report calls a task of this family, by its name in results; undefined for tasks of other families. */
  title?(task: string): string | undefined;
}

/** Infers the types of a family from its data and its schema. */
export function taskFamily<const DataName extends string, Schema extends z.ZodType>(
  family: TaskFamily<DataName, Schema>,
): TaskFamily<DataName, Schema> {
  return family;
}
