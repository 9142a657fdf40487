import { expect, test } from 'vitest';
import { mean } from './aggregation.ts';
import { evaluate } from './evaluate.ts';
import { toHarnessJson } from './harness-json.ts';
import type { Task } from './task.ts';
import { functionModel } from './testing.ts';

test('results have the shape of results_*.json', async () => {
  const task: Task = {
    name: 'tiny',
    version: 3,
    metrics: [
      { name: 'acc', higherIsBetter: true, aggregation: mean },
      { name: 'other', higherIsBetter: false, aggregation: mean },
    ],
    config: { num_documents: 10 },
    numItems: 9,
    *items() {
      for (const value of [0, 1, 1]) {
        yield {
          id: String(Math.random()),
          shown: {},
          ask: { kind: 'score', requests: [{ context: [1], continuation: [value] }] },
          measure: () => ({ acc: { value }, ...(value === 0 ? { other: { value: 7 } } : {}) }),
        };
      }
      yield { id: 'last', shown: {}, ask: { kind: 'skip', reason: 'too long' }, measure: () => ({}) };
    },
  };
  const model = functionModel(() => ({ logLikelihood: -1, isGreedy: false }));
  const json = toHarnessJson([await evaluate(task, model)], { date: 1, results: 'kept out' });
  // Without numItems, the number of rows seen.
  const seen = toHarnessJson([await evaluate({ ...task, numItems: undefined }, model)]);
  expect(seen).toMatchObject({ 'n-samples': { tiny: { original: 4, effective: 3 } } });
  expect(json).toEqual({
    date: 1,
    results: {
      tiny: {
        name: 'tiny',
        alias: 'tiny',
        sample_len: 3,
        'acc,none': 2 / 3,
        'acc_stderr,none': expect.closeTo(1 / 3, 15),
        'other,none': 7,
        'other_stderr,none': 'N/A',
      },
    },
    group_subtasks: {},
    configs: {
      tiny: {
        task: 'tiny',
        num_documents: 10,
        metric_list: [
          { metric: 'acc', aggregation: 'mean', higher_is_better: true },
          { metric: 'other', aggregation: 'mean', higher_is_better: false },
        ],
        metadata: { version: 3 },
      },
    },
    versions: { tiny: 3 },
    'n-shot': { tiny: 0 },
    higher_is_better: { tiny: { acc: true, other: false } },
    'n-samples': { tiny: { original: 9, effective: 3 } },
    config: { model: 'function', model_args: { fingerprint: 'function-1', max_length: 10_000 } },
  });
});
