import { perplexityByPositionTask } from '@meap/evals';
import { count } from '@meap/recipe-cli';
import { z } from 'zod';
import { texts } from './data-sets.ts';
import { readTexts } from './read-data.ts';
import { taskFamily } from './task-family.ts';

const settings = z.strictObject({
  length: count('Tokens of a window; default: the model’s context.').optional(),
  windows: count('Most windows of a text.').default(4),
});

export const perplexity_by_position = taskFamily({
  data: { texts },
  settings: settings.describe('Perplexity by position.'),
  tasks: {
    perplexity_by_position: {
      description:
        'perplexity of long texts by the number of tokens before, which shows how much context is of use',
      data: ['texts'],
      make: async ({ files, settings: { length, windows: maxWindows } }) =>
        perplexityByPositionTask(await readTexts(files.texts), { length, maxWindows }),
    },
  },
});
