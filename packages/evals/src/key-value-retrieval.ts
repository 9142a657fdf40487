/** Key-value retrieval (Liu et al. 2023, lost in the middle): the value of one of many random keys. */
import { means } from './aggregation.ts';
import { EvalsError } from './error.ts';
import { type PromptEncoding, textItem } from './prompt.ts';
import { readRow } from './row-reader.ts';
import type { Task, TaskItem } from './task.ts';

/** Options of {@link keyValueTask}. */
export interface KeyValueOptions extends PromptEncoding {
  /** Positions of the requested key, from 1; by default the first, every 25th and the last. */
  readonly positions?: readonly number[];
  /** Default 100. */
  readonly maxNewTokens?: number;
}

/**
 * `kv_retrieval_75`, or with the rows' number of keys; `acc` is 1 if the answer contains the value, in groups
 * `position`.
 *
 * As in the published program, the requested record moves to each position and all others keep their order.
 *
 * @param rows records `{ordered_kv_records: [[key, value], …], key, value}`, all with the same number of keys
 * @throws EvalsError for no rows, rows of another shape, or positions out of range
 */
export function keyValueTask(rows: readonly unknown[], options: KeyValueOptions = {}): Task {
  const examples = rows.map((record, index) => readExample(`kv_retrieval, row ${index}`, record));
  const numKeys = examples[0]?.others.length + 1;
  const sizes = new Set(examples.map(({ others }) => others.length));
  if (sizes.size !== 1) {
    throw new EvalsError(
      `kv_retrieval: rows differ in their number of keys, got ${[...sizes].map((size) => size + 1).join(', ') || 'no rows'}, expected one number`,
    );
  }
  const name = `kv_retrieval_${numKeys}`;
  const { positions = usualPositions(numKeys), maxNewTokens = 100, bos = true } = options;
  requirePositions(name, positions, numKeys);
  return {
    name,
    version: 1,
    metrics: means(['acc']),
    config: { num_keys: numKeys, positions, max_new_tokens: maxNewTokens, bos },
    numItems: examples.length * positions.length,
    numQuestions: examples.length,
    *items(model, maxQuestions): Iterable<TaskItem> {
      for (const [index, { others, key, value }] of examples.slice(0, maxQuestions).entries()) {
        for (const position of positions) {
          const prompt = keyValuePrompt(others.toSpliced(position - 1, 0, [key, value]), key);
          const id = `${index}-${position}`;
          const row = { id, groups: { position }, shown: { answer: value }, prompt, maxNewTokens, bos };
          yield textItem(model, row, (text) => ({
            acc: Number(text.toLowerCase().includes(value.toLowerCase())),
          }));
        }
      }
    },
  };
}

/** The positions of lost in the middle: 1, every `step`th, and the last. @internal */
export function usualPositions(count: number, step = 25): number[] {
  const positions = [1];
  for (let position = step; position < count; position += step) positions.push(position);
  return count > 1 ? [...positions, count] : positions;
}

/** @internal */
export function requirePositions(task: string, positions: readonly number[], count: number): void {
  const wrong = positions.find((at) => !(Number.isInteger(at) && at >= 1 && at <= count));
  if (wrong !== undefined || positions.length === 0) {
    throw new EvalsError(
      `${task}: positions are wrong, got ${wrong ?? 'none'}, expected integers from 1 to ${count}`,
    );
  }
}

type KeyValue = readonly [key: string, value: string];

function keyValuePrompt(records: readonly KeyValue[], key: string): string {
  const json = records.map(([key, value]) => `"${key}": "${value}"`).join(',\n ');
  return `Extract the value corresponding to the specified key in the JSON object below.\n\nJSON data:\n{${json}}\n\nKey: "${key}"\nCorresponding value:`;
}

function readExample(where: string, record: unknown) {
  const row = readRow(where, record);
  const [key, value] = [row.text('key'), row.text('value')];
  const records = (record as { ordered_kv_records: unknown }).ordered_kv_records;
  const isPairs =
    Array.isArray(records) &&
    records.every((pair) => Array.isArray(pair) && pair.length === 2 && pair.every(isText));
  if (!isPairs) return row.fail('ordered_kv_records', 'a list of [key, value]');
  const others = (records as KeyValue[]).filter((pair) => pair[0] !== key);
  if (others.length !== records.length - 1) row.fail('key', 'one of the keys, which must be distinct');
  return { others, key, value };
}

const isText = (value: unknown) => typeof value === 'string';
