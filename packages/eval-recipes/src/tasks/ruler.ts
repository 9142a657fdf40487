/** RULER (Hsieh et al. 2024): synthetic long-context tasks. */
import { type RulerTaskName, rulerTask, rulerTaskNames } from '@meap/evals';
import { count, oneOf } from '@meap/recipe-cli';
import { z } from 'zod';
import { haystack } from './data-sets.ts';
import { readTexts } from './read-data.ts';
import { counts } from './setting-keys.ts';
import { taskFamily } from './task-family.ts';

const settings = z.strictObject({
  tasks: z
    .array(oneOf(rulerTaskNames as [RulerTaskName, ...RulerTaskName[]], 'A task.'), 'a list of tasks')
    .min(1, 'at least one')
    .describe('Names of the synthetic tasks; default: all.')
    .default(rulerTaskNames),
  lengths: counts('Tokens of prompt and answer together, at least 500.').default([
    4096, 8192, 16_384, 32_768,
  ]),
  samples: count('Prompts per length.').default(500),
});

export const ruler = taskFamily({
  data: { haystack },
  settings: settings.describe('RULER.'),
  tasks: {
    ruler: {
      description: 'RULER’s synthetic tasks by length, and the effective length',
      data: ['haystack'],
      make: async ({ files, settings: { tasks, lengths, samples: numSamples }, bos, seed }) => {
        const haystack = await readTexts(files.haystack);
        return tasks.map((task) => rulerTask(task, { haystack, lengths, numSamples, seed, bos }));
      },
    },
  },
  title: (task) => /^ruler_(.+)$/.exec(task)?.[1],
});
