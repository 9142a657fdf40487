/** Tasks: rows of data turned into requests to a model, and answers into numbers. */
import type { GenerateRequest, Generation, LanguageModel, Score, ScoreRequest } from './language-model.ts';

/** How the numbers of a task's items become one number. */
export interface Metric {
  /** As lm-evaluation-harness names it where it has it: `acc`, `acc_norm`, `bits_per_byte`. */
  readonly name: string;
  readonly higherIsBetter: boolean;
  readonly aggregation: Aggregation;
}

/** A total over items, and how far another sample of items would move it. */
export interface Aggregation {
  /** As lm-evaluation-harness names it: `mean`, `weighted_perplexity`, `bits_per_byte`. */
  readonly name: string;
  /** The one number. */
  total(items: readonly Measured[]): number;
  /** Standard error of `total`, undefined where none is known. */
  standardError(items: readonly Measured[]): number | undefined;
}

/** An item's number; `weight` where items count differently (words or bytes of a text), 1 when missing. */
export interface Measured {
  readonly value: number;
  readonly weight?: number;
}

/** What an item asks: log-likelihoods or texts. */
export type ItemRequests =
  | { readonly kind: 'score'; readonly requests: readonly ScoreRequest[] }
  | { readonly kind: 'generate'; readonly requests: readonly GenerateRequest[] };

/** What {@link ItemRequests} got: as many answers as requests, in their order. */
export type ItemAnswers = readonly Score[] | readonly Generation[];

/** One row of a task. */
export interface TaskItem {
  /** Stable name of the row within its task: the same row has it in every run and model. */
  readonly id: string;
  /** What groups the item belongs to, such as `{ length: 4096, depth: 50 }`: results are also given by group. */
  readonly groups?: Readonly<Record<string, string | number>>;
  /** What a sample log shows of the row: prompt text, choices, the right answer. */
  readonly shown: Readonly<Record<string, unknown>>;
  /** The requests, or why the row cannot be asked, such as a prompt that is longer than the context. */
  readonly ask: ItemRequests | { readonly kind: 'skip'; readonly reason: string };
  /** Numbers by metric, from the answers alone: same answers, same numbers. */
  measure(
    answers: ItemAnswers,
  ): Promise<Readonly<Record<string, Measured>>> | Readonly<Record<string, Measured>>;
}

/** An evaluation: versioned data and a renderer. */
export interface Task {
  /** As the field writes it: `arc_easy`, `niah`, `mdqa_20`. */
  readonly name: string;
  /** Grows whenever the same answers would give other numbers or the prompts change. */
  readonly version: number;
  readonly metrics: readonly Metric[];
  /** What defines the task besides its rows, for result files: number of documents, needle, seed. */
  readonly config: Readonly<Record<string, unknown>>;
  /** How many rows `items` gives, where it is known beforehand: progress and result files show it. */
  readonly numItems?: number;
  /** The rows for a model, made as they are asked for. */
  items(model: Pick<LanguageModel, 'tokenizer' | 'contextLength'>): Iterable<TaskItem>;
}
