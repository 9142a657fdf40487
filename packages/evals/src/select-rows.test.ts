import { describe, expect, test } from 'vitest';
import { EvalsError } from './error.ts';
import { keyValueRecallTask } from './key-value-recall.ts';
import { keyValueTask } from './key-value-retrieval.ts';
import { multiDocumentQaTask } from './multi-document-qa.ts';
import { multiNeedleTask } from './multi-needle.ts';
import { needleTask, sanFrancisco } from './needle.ts';
import { rulerTask } from './ruler.ts';
import { type RowSelection, selectRows } from './select-rows.ts';
import type { Task } from './task.ts';
import { characters } from './testing.ts';

const model = { tokenizer: characters, contextLength: 20_000 };
const haystack = ['One sentence. Another one! '];
const ids = Array.from({ length: 40 }, (_, i) => i + 3);
const documents = ['a', 'b', 'G'].map((title) => ({ title, text: title, isgold: title === 'G' }));
const record = { derivations: ['x', 'y'], derivation_count: 2, question: 'Q', answer: 'A' };
const pairs = ['k1', 'k2', 'k3'].map((key) => [key, 'v']);

const three = <T>(value: T): T[] => [value, value, value];
const grids: Task[] = [
  needleTask({ haystack, lengths: [400, 500], depths: [0, 50, 100], needles: three(sanFrancisco) }),
  multiNeedleTask([record], { haystack, lengths: [4000], depths: [0, 9], numNeedles: [2], numRepeats: 3 }),
  multiDocumentQaTask(three({ question: 'q', answers: ['a'], ctxs: documents }), { numDocuments: 3 }),
  keyValueTask(three({ ordered_kv_records: pairs, key: 'k2', value: 'v' })),
  keyValueRecallTask({ pairs: [2, 4], numRows: 3, ids }),
  rulerTask('vt', { lengths: [2000, 2500], numSamples: 3 }),
];

const rowsOf = (task: Task, selection: RowSelection) => {
  const { rows, total } = selectRows(task, model, selection);
  const found = [...rows];
  if (total !== undefined) expect(found).toHaveLength(total);
  return found;
};

describe('a limit of a grid counts questions', () => {
  // `distance` of recall differs between the questions of a cell.
  const cellsOf = (rows: ReturnType<typeof rowsOf>) =>
    new Set(rows.map(({ groups }) => JSON.stringify({ ...groups, distance: 0 })));

  test.each(grids.map((task) => [task.name, task] as const))('%s', (_, task) => {
    const all = rowsOf(task, {});
    expect(all).toHaveLength(task.numItems!);
    for (const [limit, numQuestions] of [
      [1, 1],
      [2, 2],
      [0.4, 2],
      [9, 3],
    ]) {
      const rows = rowsOf(task, { limit });
      expect(cellsOf(rows)).toEqual(cellsOf(all));
      expect(rows).toHaveLength((all.length / 3) * numQuestions);
      // The same rows, in their order.
      const chosen = new Set(rows.map(({ id }) => id));
      expect(rows.map(({ id, ask }) => [id, ask])).toEqual(
        all.filter(({ id }) => chosen.has(id)).map(({ id, ask }) => [id, ask]),
      );
    }
    expect(rowsOf(task, { samples: [1] }).map(({ id }) => id)).toEqual([all[1].id]);
  });
});

test('a fraction is rounded up, as in lm-evaluation-harness, and refused of an unknown number', () => {
  const task: Task = {
    ...{ name: 'toy', version: 1, metrics: [], config: {}, numItems: 5 },
    *items() {
      for (let i = 0; i < 5; i++) {
        yield { id: `${i}`, shown: {}, ask: { kind: 'skip', reason: '' }, measure: () => ({}) };
      }
    },
  };
  const count = (limit: number, numItems: number | undefined = 5) =>
    [...selectRows({ ...task, numItems }, model, { limit }).rows].length;
  expect([0.01, 0.2, 0.21, 0.999].map((limit) => count(limit))).toEqual([1, 1, 2, 5]);
  expect(() => selectRows({ ...task, numItems: undefined }, model, { limit: 0.5 })).toThrow(
    'limit is a fraction, got 0.5, expected an integer for toy',
  );
  for (const limit of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(() => count(limit)).toThrow(EvalsError);
  }
});
