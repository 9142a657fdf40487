/** Chooses the rows of a task to evaluate. */
import { EvalsError } from './error.ts';
import type { Task, TaskItem, TaskModel } from './task.ts';

/** Which rows of a task to evaluate; all by default. */
export interface RowSelection {
  /**
   * Only the first questions: an integer from 1, or a fraction below 1, rounded up, as in lm-evaluation-harness. A grid asks
   * each of them in all of its cells.
   */
  readonly limit?: number;
  /** Only these rows, counted from 0. */
  readonly samples?: readonly number[];
}

/**
 * Returns the chosen rows, created lazily, and their number if it is known in advance.
 *
 * @throws EvalsError if `limit` and `samples` are both set, a limit is out of range or a fraction of an unknown number; from
 *   `rows` for two rows with the same id, and for `samples` that the task does not have
 */
export function selectRows(
  task: Task,
  model: TaskModel,
  { limit, samples }: RowSelection,
): { readonly rows: Iterable<TaskItem>; readonly total?: number } {
  if (limit !== undefined && samples !== undefined) {
    throw new EvalsError('evaluate: got limit and samples, expected one of them');
  }
  const { numItems, numQuestions } = task;
  if (samples !== undefined) {
    const wanted = new Set(samples);
    return { rows: chosenRows(task, task.items(model), wanted), total: wanted.size };
  }
  if (limit === undefined) return { rows: distinctRows(task, task.items(model)), total: numItems };
  const count = countQuestions(task, limit);
  if (numQuestions === undefined) {
    const total = numItems === undefined ? undefined : Math.min(numItems, count);
    return { rows: distinctRows(task, firstOf(task.items(model), count)), total };
  }
  const total =
    numItems === undefined ? undefined : (numItems / numQuestions) * Math.min(numQuestions, count);
  return { rows: distinctRows(task, task.items(model, count)), total };
}

function countQuestions({ name, numItems, numQuestions = numItems }: Task, limit: number): number {
  if (!(limit > 0 && (limit < 1 || Number.isInteger(limit)))) {
    throw new EvalsError(
      `evaluate: limit is out of range, got ${limit}, expected an integer ≥ 1 or a fraction between 0 and 1`,
    );
  }
  if (limit >= 1) return limit;
  if (numQuestions === undefined) {
    throw new EvalsError(
      `evaluate: limit is a fraction, got ${limit}, expected an integer for ${name}, whose number of rows is not known in ` +
        'advance',
    );
  }
  return Math.ceil(limit * numQuestions);
}

function* firstOf(items: Iterable<TaskItem>, count: number): Iterable<TaskItem> {
  let index = 0;
  for (const item of items) {
    yield item;
    if (++index >= count) return;
  }
}

function* chosenRows(task: Task, items: Iterable<TaskItem>, wanted: Set<number>): Iterable<TaskItem> {
  const last = Math.max(...wanted);
  let index = 0;
  const chosen = function* () {
    for (const item of items) {
      if (wanted.delete(index)) yield item;
      if (index++ >= last) return;
    }
  };
  yield* distinctRows(task, chosen());
  if (wanted.size > 0) {
    throw new EvalsError(
      `evaluate: ${task.name} does not have all rows of samples, got ${[...wanted].join(', ')}, expected row numbers from 0`,
    );
  }
}

function* distinctRows({ name }: Task, items: Iterable<TaskItem>): Iterable<TaskItem> {
  const ids = new Set<string>();
  for (const item of items) {
    if (ids.has(item.id)) throw new EvalsError(`${name}: two rows have the same id ${item.id}`);
    ids.add(item.id);
    yield item;
  }
}
