/** In-context learning (Olsson et al. 2022): the loss late in a text less the loss early in it. */
import { lateMinusEarlyTask } from '@meap/evals';
import { count } from '@meap/recipe-cli';
import { z } from 'zod';
import { texts } from './data-sets.ts';
import { readTexts } from './read-data.ts';
import { taskFamily } from './task-family.ts';

const expected = 'a whole number from 20';

const settings = z.strictObject({
  length: z
    .int(expected)
    .min(20, expected)
    .describe('Tokens per window; default: the model’s context.')
    .optional(),
  windows: count('Maximum windows per text.').default(4),
});

export const late_minus_early = taskFamily({
  data: { texts },
  settings: settings.describe('Loss late in a text less the loss early in it.'),
  tasks: {
    late_minus_early: {
      description:
        'loss of the last tenth of a text less that of its second tenth; of held-out rows in training',
      data: ['texts'],
      readsHeldOut: true,
      make: async ({ files, heldOut, settings: { length, windows: maxWindows } }) =>
        lateMinusEarlyTask(heldOut ?? (await readTexts(files.texts)), { length, maxWindows }),
    },
  },
});
