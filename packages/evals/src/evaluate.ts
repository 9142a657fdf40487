/** Runs a task with a model. */
import {
  type Answer,
  type AnswerStore,
  answer,
  type KeyedRequests,
  numTokensOf,
  planBatches,
  withKeys,
} from './answers.ts';
import type { LanguageModel } from './language-model.ts';
import { type Sample, type SkippedRow, summarize, summarizeGroups, type TaskResult } from './result.ts';
import { hashTokens } from './row-tokens.ts';
import { type RowSelection, selectRows } from './select-rows.ts';
import type { ItemAnswers, Task, TaskItem } from './task.ts';

/** Options of {@link evaluate}. */
export interface EvaluateOptions extends RowSelection {
  /** Stores answers; without a store every request is sent to the model. */
  readonly store?: AnswerStore;
  /** Aborts the evaluation with the signal's reason; earlier answers are in the store. */
  readonly signal?: AbortSignal;
  /** Whether samples have what the harness logs of each row; default false. */
  readonly logSamples?: boolean;
  /** Called after each batch. */
  readonly onProgress?: (progress: EvaluateProgress) => void;
}

/** Progress of an evaluation. */
export interface EvaluateProgress {
  /** Rows that are answered or skipped. */
  readonly numItems: number;
  /** Number of rows to evaluate, if known. */
  readonly totalItems?: number;
  /** Tokens of requests to the model, each with its context, and of generated texts. */
  readonly numTokens: number;
  /** Answers from the store. */
  readonly numStored: number;
}

/** Tokens of the rows that are planned together: enough to sort well, few enough to fit in memory. */
const SLICE_TOKENS = 2 ** 20;

/**
 * Evaluates a model on the rows of a task.
 *
 * Rows are planned in slices of about a million tokens. The requests of a slice go to the model longest first, those
 * with the same context together, in calls of about 32,000 tokens (see `planBatches`); the answers of a call are stored
 * before the next call.
 *
 * @throws EvalsError if `limit` and `samples` are both set or select no rows, two rows have the same id, or the model
 *   breaks its contract; errors of the model, the store and the task
 */
export async function evaluate(
  task: Task,
  model: LanguageModel,
  options: EvaluateOptions = {},
): Promise<TaskResult> {
  const samples: Sample[] = [];
  const skipped: SkippedRow[] = [];
  const { rows, total: totalItems } = selectRows(task, model, options);
  let [numTokens, numStored] = [0, 0];
  for (const slice of slices(rows)) {
    const asks = slice.map(({ ask }) => (ask.kind === 'skip' ? undefined : withKeys(model.fingerprint, ask)));
    const keyed = asks.filter((ask) => ask !== undefined);
    const waiting = countdown(keyed);
    const answers = new Map<string, Answer>();
    let numAnswered = 0;
    for (const batch of planBatches(keyed)) {
      const got = await answer(batch, model, options);
      numTokens += got.numTokens;
      numStored += got.numStored;
      for (const [key, reply] of got.answers) {
        answers.set(key, reply);
        numAnswered += waiting(key);
      }
      const numSkipped = slice.length - keyed.length;
      const numItems = samples.length + skipped.length + numSkipped + numAnswered;
      options.onProgress?.({ numItems, totalItems, numTokens, numStored });
    }
    // Concurrently, since measuring may wait for a judge.
    const measured = await Promise.all(
      slice.map((item, i) => measure(task, item, asks[i]?.keys ?? [], answers, options)),
    );
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
    ...(task.memberOf && { memberOf: task.memberOf }),
    ...(task.numItems === undefined ? {} : { numRows: task.numItems }),
    results: summarize(task.metrics, samples),
    groups: summarizeGroups(task.metrics, samples, skipped),
    skipped,
    samples,
  };
}

async function measure(
  { hasRowsOfTokens }: Task,
  item: TaskItem,
  keys: readonly string[],
  answers: ReadonlyMap<string, Answer>,
  { logSamples }: EvaluateOptions,
): Promise<Sample | SkippedRow> {
  const { id, groups, chance, shown, ask } = item;
  const row = groups === undefined ? { id } : { id, groups };
  if (ask.kind === 'skip') return { ...row, reason: ask.reason };
  const own = keys.map((key) => answers.get(key)!);
  const guess = chance === undefined ? {} : { chance };
  const tokens = hasRowsOfTokens ? { tokens: hashTokens(ask) } : {};
  const log = logSamples ? item.log?.(own as ItemAnswers) : undefined;
  const measured = await item.measure(own as ItemAnswers);
  return { ...row, ...tokens, ...guess, shown, answers: own, ...(log && { log }), measured };
}

/** Returns a function that takes each answered key once and returns the number of items that it completes. */
function countdown(keyed: readonly KeyedRequests[]): (key: string) => number {
  const waiting = new Map<string, { left: number }[]>();
  for (const request of keyed) {
    const keys = new Set(request.keys);
    const item = { left: keys.size };
    for (const key of keys) waiting.set(key, [...(waiting.get(key) ?? []), item]);
  }
  return (key) => {
    let done = 0;
    for (const item of waiting.get(key)!) if (--item.left === 0) done++;
    return done;
  };
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
