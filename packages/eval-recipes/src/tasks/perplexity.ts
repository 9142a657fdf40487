import { perplexityTask } from '@meap/evals';
import { texts } from './data-sets.ts';
import { readTexts } from './read-data.ts';
import { taskFamily } from './task-family.ts';

export const perplexity = taskFamily({
  data: { texts },
  tasks: {
    perplexity: {
      description: 'perplexity and bits per byte of texts',
      data: ['texts'],
      make: async ({ files }) => perplexityTask(await readTexts(files.texts)),
    },
  },
  title: (task) => (task === 'perplexity' ? 'Perplexity of texts' : undefined),
});
