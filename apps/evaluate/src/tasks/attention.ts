/** Settings and data of the command `attention` (Table 10 and Figure 6 of the MEAP paper), which has no tasks. */
import { count, oneOf, share } from '@meap/recipe-cli';
import { z } from 'zod';
import { named, texts } from './data-sets.ts';
import { counts } from './setting-keys.ts';
import { taskFamily } from './task-family.ts';

const settings = z.strictObject({
  sequences: count('Sequences of each length.').default(500),
  lengths: counts('Tokens of a sequence.').default([1024, 4096]),
  mask_ratio: share('Share of the tokens that the MEAP model does not get to see.')
    .gt(0, 'a number above 0')
    .default(0.15),
  queries: oneOf(
    ['last', 'all'],
    'Which queries count in the shares of a prompt: the last token’s, or the mean of all.',
  ).default('last'),
});

export const attention = taskFamily({
  data: {
    texts,
    attention_prompts: {
      what: 'records {context_before, answer, context_after, query} of text',
      source: 'your own: a prompt cut where the answer to its query begins and ends',
      patterns: named('attention_prompts'),
    },
  },
  settings: settings.describe('The command attention.'),
  tasks: {},
});
