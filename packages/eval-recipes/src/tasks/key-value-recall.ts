/** Recall of random token pairs (Zoology, Arora et al. 2023). */
import { keyValueRecallTask } from '@meap/evals';
import { count } from '@meap/recipe-cli';
import { z } from 'zod';
import { counts } from './setting-keys.ts';
import { taskFamily } from './task-family.ts';

const settings = z.strictObject({
  pairs: counts('Numbers of pairs in a row.').default([2, 4, 8, 16]),
  rows: count('Rows for each number of pairs.').default(32),
});

export const key_value_recall = taskFamily({
  data: {},
  settings: settings.describe('Recall of random token pairs.'),
  check: ({ pairs }, path, refusals) => {
    if (pairs.includes(1)) refusals.add(`${path}.pairs`, pairs, 'whole numbers from 2');
  },
  tasks: {
    key_value_recall: {
      description: 'recall of one of several random token pairs, by their number and distance',
      data: [],
      make: async ({ settings: { pairs, rows: numRows }, seed }) =>
        keyValueRecallTask({ pairs, numRows, seed }),
    },
  },
  title: (task) => (task === 'key_value_recall' ? 'Key-value recall' : undefined),
});
