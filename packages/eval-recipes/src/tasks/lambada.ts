import { lambadaTask } from '@meap/evals';
import { named } from './data-sets.ts';
import { readRows } from './read-data.ts';
import { taskFamily } from './task-family.ts';

export const lambada = taskFamily({
  data: {
    lambada_openai: {
      what: 'LAMBADA as processed by OpenAI, test split',
      source: 'EleutherAI/lambada_openai on the Hugging Face hub: default, test split',
      patterns: ['**/lambada_openai/**/*test*.{jsonl,parquet}', ...named('lambada')],
    },
  },
  tasks: {
    lambada_openai: {
      description: 'prediction of the last word of a passage',
      data: ['lambada_openai'],
      prompts: { examples: 'rows' },
      make: async ({ files, bos, prompts }) =>
        lambadaTask(await readRows(files.lambada_openai), { bos, ...prompts }),
    },
  },
  title: (task) => (task === 'lambada_openai' ? 'LAMBADA' : undefined),
});
