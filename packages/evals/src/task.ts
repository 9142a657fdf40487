/** Interface of tasks, which turn rows into requests to a model, and answers into numbers. */
import type { GenerateRequest, Generation, LanguageModel, Score, ScoreRequest } from './language-model.ts';

/** A metric of a task. */
export interface Metric {
  /** Name, as in lm-evaluation-harness if it has the metric: `acc`, `acc_norm`, `bits_per_byte`. */
  readonly name: string;
  readonly higherIsBetter: boolean;
  readonly aggregation: Aggregation;
}

/** Aggregation of the numbers of items. */
export interface Aggregation {
  /** Name, as in lm-evaluation-harness: `mean`, `weighted_perplexity`, `bits_per_byte`. */
  readonly name: string;
  /** The total over items. */
  total(items: readonly Measured[]): number;
  /** Standard error of `total`, if known. */
  standardError(items: readonly Measured[]): number | undefined;
}

/** An item's number; `weight` counts words or bytes of a text, default 1. */
export interface Measured {
  readonly value: number;
  readonly weight?: number;
}

/** Requests of an item: log-likelihoods or texts. */
export type ItemRequests =
  | { readonly kind: 'score'; readonly requests: readonly ScoreRequest[] }
  | { readonly kind: 'generate'; readonly requests: readonly GenerateRequest[] };

/** Answers to {@link ItemRequests}, in the same order. */
export type ItemAnswers = readonly Score[] | readonly Generation[];

/** A row as lm-evaluation-harness logs it, for one filter of its answers. */
export interface SampleLog {
  /** Name of the filter; `none` where there is none. */
  readonly filter: string;
  /** The row of the data set. */
  readonly doc: unknown;
  /** `doc_to_target` of the harness. */
  readonly target: unknown;
  /** Arguments of each request. */
  readonly arguments: readonly (readonly unknown[])[];
  /** All answers to each request, and what the filter makes of them. */
  readonly resps: readonly (readonly unknown[])[];
  readonly filteredResps: readonly unknown[];
}

/** One row of a task. */
export interface TaskItem {
  /** Identifies the row within its task, in every run and model. */
  readonly id: string;
  /** Groups of the item, such as `{ length: 4096, depth: 50 }`: results are also summarized by group. */
  readonly groups?: Readonly<Record<string, string | number>>;
  /** Probability that a guess is right, of rows that offer choices. */
  readonly chance?: number;
  /** Contents of the row for sample logs: prompt, choices, the correct answer. */
  readonly shown: Readonly<Record<string, unknown>>;
  /** The requests, or the reason to skip the row, such as a prompt that is longer than the context. */
  readonly ask: ItemRequests | { readonly kind: 'skip'; readonly reason: string };
  /** The row with its answers for logs, once for each filter; absent for tasks that the harness does not have. */
  log?(answers: ItemAnswers): readonly SampleLog[];
  /** Numbers by metric, a function of the answers only. */
  measure(
    answers: ItemAnswers,
  ): Promise<Readonly<Record<string, Measured>>> | Readonly<Record<string, Measured>>;
}

/** What tasks need to know of a model to form prompts. */
export type TaskModel = Pick<LanguageModel, 'tokenizer' | 'contextLength' | 'chat'>;

/** A group of tasks with totals of its own. */
export interface TaskGroup {
  readonly name: string;
  readonly version: number;
  /**
   * Metrics that have a total, over the tasks with that metric: `acc`, `exact_match` with every filter,
   * `exact_match,strict-match` with one, `acc,none` without.
   */
  readonly metrics: readonly string[];
  /** Whether tasks count by their rows; else all count the same. */
  readonly weightBySize: boolean;
}

/** An evaluation of a model. */
export interface Task {
  /** The usual name: `arc_easy`, `niah`, `mdqa_20`. */
  readonly name: string;
  /** Increases whenever prompts change or the same answers give other numbers. */
  readonly version: number;
  readonly metrics: readonly Metric[];
  /** Settings of the task besides its rows, for result files: number of documents, needle, seed. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Groups of tasks that this one belongs to, the largest first. */
  readonly memberOf?: readonly TaskGroup[];
  /** Number of rows of `items`, if known in advance, for progress and result files. */
  readonly numItems?: number;
  /**
   * Whether rows are windows of tokens or random tokens, so that rows of models with other tokenizers or contexts are others
   * and cannot be compared.
   */
  readonly hasRowsOfTokens?: boolean;
  /**
   * Questions that a grid asks in each of its cells, such as lengths or positions: what a limit counts. Absent where each
   * row is a question.
   */
  readonly numQuestions?: number;
  /**
   * The rows for a model, created lazily.
   *
   * @param maxQuestions only the first questions of each cell, for tasks with `numQuestions`
   */
  items(model: TaskModel, maxQuestions?: number): Iterable<TaskItem>;
}
