import { expect, test } from 'vitest';
import { EvalsError } from './error.ts';
import { evaluate } from './evaluate.ts';
import { keyValueTask } from './key-value-retrieval.ts';
import type { GenerateRequest, Generation } from './language-model.ts';
import { characters, functionModel } from './testing.ts';
import { onlyRequest } from './testing-data.ts';

const records = [
  ['k1', 'v1'],
  ['k2', 'v2'],
  ['k3', 'v3'],
];
const row = { ordered_kv_records: records, key: 'k2', value: 'v2' };

test('the requested record moves, the others keep their order; the prompt is the published one', () => {
  const rows = [
    ...keyValueTask([row], { positions: [3] }).items({ tokenizer: characters, contextLength: 900 }),
  ];
  const { prompt } = onlyRequest(rows[0]);
  expect(characters.decode(prompt)).toBe(
    'Extract the value corresponding to the specified key in the JSON object below.\n\nJSON data:\n{"k1": "v1",\n "k3": "v3",\n "k2": "v2"}\n\nKey: "k2"\nCorresponding value:',
  );
});

test('an answer that contains the value in any case is correct, by position', async () => {
  const model = {
    ...functionModel(() => ({ logLikelihood: 0, isGreedy: false })),
    generate: async (requests: readonly GenerateRequest[]) =>
      requests.map(({ prompt }): Generation => {
        const isFirst = characters.decode(prompt).includes('{"k2"');
        return { text: isFirst ? ' "V2"' : 'v3', ids: [], finish: 'stop' };
      }),
  };
  const task = keyValueTask([row]);
  const { results, groups } = await evaluate(task, model);
  expect(task).toMatchObject({ name: 'kv_retrieval_3', numItems: 2 });
  expect(results.acc.value).toBe(0.5);
  expect(groups.position.map(({ value, results }) => [value, results.acc.value])).toEqual([
    [1, 1],
    [3, 0],
  ]);
});

test('75 keys are requested at the published positions', () => {
  const many = Array.from({ length: 75 }, (_, index) => [`k${index}`, `v${index}`]);
  const task = keyValueTask([{ ordered_kv_records: many, key: 'k9', value: 'v9' }]);
  expect(task.config.positions).toEqual([1, 25, 50, 75]);
});

test.each([
  [[], {}, 'rows differ in their number of keys, got no rows'],
  [[row, { ...row, ordered_kv_records: records.slice(1) }], {}, 'got 3, 2, expected one number'],
  [[{ ...row, key: 'k9' }], {}, 'field key is wrong'],
  [[{ ...row, ordered_kv_records: [['k2']] }], {}, 'expected a list of [key, value]'],
  [[row], { positions: [4] }, 'kv_retrieval_3: positions are wrong, got 4, expected integers from 1 to 3'],
])('is refused: %#', (rows, options, message) => {
  expect(() => keyValueTask(rows, options)).toThrow(EvalsError);
  expect(() => keyValueTask(rows, options)).toThrow(message);
});
