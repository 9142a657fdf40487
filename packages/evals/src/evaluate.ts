/** The runner: a task's rows through a model into numbers. */
import {
  type Answer,
  type AnswerStore,
  answer,
  type KeyedRequests,
  numTokensOf,
  planBatches,
  withKeys,
} from './answers.ts';
import { EvalsError } from './error.ts';
import type { LanguageModel } from './language-model.ts';
import { type Sample, type SkippedRow, summarize, summarizeGroups, type TaskResult } from './result.ts';
import type { ItemAnswers, Task, TaskItem } from './task.ts';

/** Options of {@link evaluate}. */
export interface EvaluateOptions {
  /** Where answers are looked up and kept; without one every request is asked. */
  readonly store?: AnswerStore;
  /** Asks the first rows only; at least 1. */
  readonly limit?: number;
  /** Asks these rows only, counted from 0. */
  readonly samples?: readonly number[];
  /** Ends the evaluation with the signal's reason; what was answered is in the store. */
  readonly signal?: AbortSignal;
  /** Called after each batch. */
  readonly onProgress?: (progress: EvaluateProgress) => void;
}

/** How far an evaluation is. */
export interface EvaluateProgress {
  /** Rows that are answered or skipped. */
  readonly numItems: number;
  /** Rows to ask in all, where it is known. */
  readonly totalItems?: number;
  /** Tokens of the requests that were asked, a context anew for each, and of generated texts. */
  readonly numTokens: number;
  /** Answers that came from the store. */
  readonly numStored: number;
}

/** Tokens of the rows that are planned together: long enough to sort well, short enough to hold. */
const SLICE_TOKENS = 2 ** 20;

/**
 * Asks a model the rows of a task and measures its answers.
 *
 * Rows are taken in slices of about a million tokens; the requests of a slice go to the model longest first, those with
 * the same context together, in calls of some ten thousand tokens (see `planBatches`), and each call's answers
 * are stored before the next call.
 *
 * @throws EvalsError when `limit` and `samples` name no rows of the task or are both given, when two rows have one id,
 *   or when the model breaks its contract; whatever the model, the store or the task throws.
 */
export async function evaluate(
  task: Task,
  model: LanguageModel,
  options: EvaluateOptions = {},
): Promise<TaskResult> {
  const samples: Sample[] = [];
  const skipped: SkippedRow[] = [];
  const totalItems = countRows(task, options);
  let [numTokens, numStored] = [0, 0];
  for (const slice of slices(chosenRows(task, model, options))) {
    const asks = slice.map(({ ask }) => (ask.kind === 'skip' ? undefined : withKeys(model.fingerprint, ask)));
    const asked = asks.filter((ask) => ask !== undefined);
    const waiting = countdown(asked);
    const answers = new Map<string, Answer>();
    let numAnswered = 0;
    for (const batch of planBatches(asked)) {
      const got = await answer(batch, model, options);
      numTokens += got.numTokens;
      numStored += got.numStored;
      for (const [key, reply] of got.answers) {
        answers.set(key, reply);
        numAnswered += waiting(key);
      }
      const numSkipped = slice.length - asked.length;
      const numItems = samples.length + skipped.length + numSkipped + numAnswered;
      options.onProgress?.({ numItems, totalItems, numTokens, numStored });
    }
    // Together: measuring may wait for others, such as a judge.
    const measured = await Promise.all(slice.map((item, i) => measure(item, asks[i]?.keys ?? [], answers)));
    for (const row of measured) {
      if ('reason' in row) skipped.push(row);
      else samples.push(row);
    }
  }
  const { name, fingerprint, contextLength } = model;
  return {
    task: task.name,
    version: task.version,
    model: { name, fingerprint, contextLength },
    config: task.config,
    metrics: task.metrics.map(({ name, higherIsBetter, aggregation }) => ({
      name,
      higherIsBetter,
      aggregation: aggregation.name,
    })),
    ...(task.numItems === undefined ? {} : { numRows: task.numItems }),
    results: summarize(task.metrics, samples),
    groups: summarizeGroups(task.metrics, samples, skipped),
    skipped,
    samples,
  };
}

async function measure(
  item: TaskItem,
  keys: readonly string[],
  answers: ReadonlyMap<string, Answer>,
): Promise<Sample | SkippedRow> {
  const { id, groups, shown, ask } = item;
  const row = groups === undefined ? { id } : { id, groups };
  if (ask.kind === 'skip') return { ...row, reason: ask.reason };
  const own = keys.map((key) => answers.get(key)!);
  return { ...row, shown, answers: own, measured: await item.measure(own as ItemAnswers) };
}

/** Says of each key how many items have all their answers now, each key being told once. */
function countdown(asked: readonly KeyedRequests[]): (key: string) => number {
  const waiting = new Map<string, { left: number }[]>();
  for (const ask of asked) {
    const keys = new Set(ask.keys);
    const item = { left: keys.size };
    for (const key of keys) waiting.set(key, [...(waiting.get(key) ?? []), item]);
  }
  return (key) => {
    let done = 0;
    for (const item of waiting.get(key)!) if (--item.left === 0) done++;
    return done;
  };
}

function countRows({ numItems }: Task, { limit = Number.POSITIVE_INFINITY, samples }: EvaluateOptions) {
  if (samples !== undefined) return new Set(samples).size;
  return numItems === undefined ? undefined : Math.min(numItems, limit);
}

function* chosenRows(
  task: Task,
  model: LanguageModel,
  { limit, samples }: EvaluateOptions,
): Iterable<TaskItem> {
  if (limit !== undefined && samples !== undefined) {
    throw new EvalsError('evaluate: got limit and samples, expected one of them');
  }
  if (limit !== undefined && !(Number.isInteger(limit) && limit >= 1)) {
    throw new EvalsError(`evaluate: limit is out of range, got ${limit}, expected an integer ≥ 1`);
  }
  const wanted = samples && new Set(samples);
  const last = samples ? Math.max(...samples) : (limit ?? Number.POSITIVE_INFINITY) - 1;
  const ids = new Set<string>();
  let index = 0;
  for (const item of task.items(model)) {
    if (wanted === undefined || wanted.delete(index)) {
      if (ids.has(item.id)) throw new EvalsError(`${task.name}: two rows have the id ${item.id}`);
      ids.add(item.id);
      yield item;
    }
    if (index++ >= last) break;
  }
  if (wanted !== undefined && wanted.size > 0) {
    throw new EvalsError(
      `evaluate: samples names rows that ${task.name} does not have, got ${[...wanted].join(', ')}, expected row numbers from 0`,
    );
  }
}

function* slices(items: Iterable<TaskItem>): Iterable<TaskItem[]> {
  let slice: TaskItem[] = [];
  let tokens = 0;
  for (const item of items) {
    slice.push(item);
    if (item.ask.kind !== 'skip') {
      for (const request of item.ask.requests) tokens += numTokensOf(request);
    }
    if (tokens >= SLICE_TOKENS) {
      yield slice;
      [slice, tokens] = [[], 0];
    }
  }
  if (slice.length > 0) yield slice;
}
