/** Needle in a haystack (Table 2 and Figure 3 of the MEAP paper). */
import { associationTask, needleTask } from '@meap/evals';
import { text } from '@meap/recipe-cli';
import { z } from 'zod';
import { haystack } from './data-sets.ts';
import { readTexts } from './read-data.ts';
import { counts, depths, maxNewTokens } from './setting-keys.ts';
import { taskFamily } from './task-family.ts';

const settings = z.strictObject({
  lengths: counts('Tokens of haystack and needle, including 200 reserved for question and answer.').default([
    1000, 2000, 4000, 8000, 16_000, 32_000,
  ]),
  depths: depths('Depths of the needle in percent.').default([0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
  needles: z
    .array(
      z.strictObject({
        needle: text('The inserted sentence.'),
        question: text('The question at the end.'),
        answer: text('The expected answer.'),
      }),
      'a list of {needle, question, answer}',
    )
    .min(1, 'at least one')
    .describe('Needles of niah; default: what to do in San Francisco.')
    .optional(),
  template: text('Prompt with {context} and {question}; default: for base models.').optional(),
  max_new_tokens: maxNewTokens(50),
});

const TITLES = { niah: 'Needle in a haystack', niah_association: 'Needle without a word of its question' };

export const niah = taskFamily({
  data: { haystack },
  settings: settings.describe('Needle in a haystack.'),
  tasks: {
    niah: {
      description: 'needle in a haystack: a sentence in a long text, by length and depth',
      data: ['haystack'],
      make: async ({ files, settings, bos }) => {
        const { lengths, depths, needles, template, max_new_tokens: maxNewTokens } = settings;
        const haystack = await readTexts(files.haystack);
        return needleTask({ haystack, lengths, depths, needles, template, maxNewTokens, bos });
      },
    },
    niah_association: {
      description: 'the same with needles that share no word with their question',
      data: ['haystack'],
      make: async ({ files, settings, bos }) => {
        const { lengths, depths, template, max_new_tokens: maxNewTokens } = settings;
        const haystack = await readTexts(files.haystack);
        return associationTask({ haystack, lengths, depths, template, maxNewTokens, bos });
      },
    },
  },
  title: (task) => (Object.hasOwn(TITLES, task) ? TITLES[task as keyof typeof TITLES] : undefined),
});
