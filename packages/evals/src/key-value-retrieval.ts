/** Key-value retrieval (Liu et al. 2023, lost in the middle): the value of one of many random keys. */
import { mean } from './aggregation.ts';
import { EvalsError } from './error.ts';
import type { Generation } from './language-model.ts';
import { askForText, excerpt, type PromptEncoding } from './prompt.ts';
import { readRow } from './row-reader.ts';
import type { Task, TaskItem } from './task.ts';

/** Options of {@link keyValueTask}. */
export interface KeyValueOptions extends PromptEncoding {
  /** Places of the key that is asked for, from 1; the first, every 25th and the last when absent. */
  readonly positions?: readonly number[];
  /** 100 when absent. */
  readonly maxNewTokens?: number;
}

/**
 * `kv_retrieval_75`, or as many keys as the rows have; `acc` counts answers with the value in them, in groups
 * `position`.
 *
 * As the published program does, the record asked for is moved to each position and all others keep their order.
 *
 * @param rows Records `{ordered_kv_records: [[key, value], …], key, value}`, all with as many keys.
 * @throws EvalsError for no rows, rows of another shape, or a position that the rows do not have.
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
    metrics: [{ name: 'acc', higherIsBetter: true, aggregation: mean }],
    config: { num_keys: numKeys, positions, max_new_tokens: maxNewTokens, bos },
    numItems: examples.length * positions.length,
    *items(model): Iterable<TaskItem> {
      for (const [index, { others, key, value }] of examples.entries()) {
        for (const position of positions) {
          const prompt = keyValuePrompt(others.toSpliced(position - 1, 0, [key, value]), key);
          yield {
            id: `${index}-${position}`,
            groups: { position },
            shown: { prompt: excerpt(prompt), answer: value },
            ask: askForText(model, prompt, { maxNewTokens, bos }),
            measure: (answers) => {
              const { text } = (answers as readonly Generation[])[0];
              return { acc: { value: Number(text.toLowerCase().includes(value.toLowerCase())) } };
            },
          };
        }
      }
    },
  };
}

/** 1, then every `step`th, then the last: where lost in the middle puts what is asked for. @internal */
export function usualPositions(count: number, step = 25): number[] {
  const positions = [1];
  for (let position = step; position < count; position += step) positions.push(position);
  return count > 1 ? [...positions, count] : positions;
}

/** @internal */
export function requirePositions(task: string, positions: readonly number[], count: number): void {
  const wrong = positions.find((place) => !(Number.isInteger(place) && place >= 1 && place <= count));
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
  if (others.length !== records.length - 1) row.fail('key', 'one of the keys, each there once');
  return { others, key, value };
}

const isText = (value: unknown) => typeof value === 'string';
