import { perplexityByPositionTask } from '@meap/evals';
import { count } from '@meap/recipe-cli';
import { z } from 'zod';
import { texts } from './data-sets.ts';
import { readTexts } from './read-data.ts';
import { taskFamily } from './task-family.ts';

const settings = z.strictObject({
  length: count('Tokens per window; default: the model’s context.').optional(),
  windows: count('Maximum windows per text.').default(4),
});

export const perplexity_by_position = taskFamily({
  data: { texts },
  settings: settings.describe('Perplexity by position.'),
  tasks: {
    perplexity_by_position: {
      description: 'perplexity of long texts by position, which shows how much context the model uses',
      data: ['texts'],
      make: async ({ files, settings: { length, windows: maxWindows } }) =>
        perplexityByPositionTask(await readTexts(files.texts), { length, maxWindows }),
    },
  },
});
