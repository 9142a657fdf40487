/** Key-value retrieval (lost in the middle, Liu et al. 2023). */
import { keyValueTask } from '@meap/evals';
import { z } from 'zod';
import { named } from './data-sets.ts';
import { readRows } from './read-data.ts';
import { counts, maxNewTokens } from './setting-keys.ts';
import { taskFamily } from './task-family.ts';

const settings = z.strictObject({
  positions: counts('Positions of the key; default: first, every 25th, last.').optional(),
  max_new_tokens: maxNewTokens(100),
});

export const kv_retrieval = taskFamily({
  data: {
    kv_retrieval: {
      what: 'key-value pairs and a key to retrieve',
      source:
        'the repository lost-in-the-middle by Liu et al.: kv_retrieval_data/kv-retrieval-75_keys.jsonl.gz',
      patterns: named('kv-retrieval'),
    },
  },
  settings: settings.describe('Key-value retrieval.'),
  tasks: {
    kv_retrieval: {
      description: 'retrieval of the value of a random key, by position',
      data: ['kv_retrieval'],
      make: async ({ files, settings: { positions, max_new_tokens: maxNewTokens }, bos }) =>
        keyValueTask(await readRows(files.kv_retrieval), { positions, maxNewTokens, bos }),
    },
  },
  title: (task) => {
    const [, count] = /^kv_retrieval_(\d+)$/.exec(task) ?? [];
    return count === undefined ? undefined : `Key-value retrieval, ${count} keys`;
  },
});
