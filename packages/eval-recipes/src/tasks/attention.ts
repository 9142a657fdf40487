/** Settings and data of the command `attention` (Table 10 and Figure 6 of the MEAP paper). */
import { count, oneOf, share } from '@meap/recipe-cli';
import { z } from 'zod';
import { named, texts } from './data-sets.ts';
import { counts } from './setting-keys.ts';
import { taskFamily } from './task-family.ts';

const settings = z.strictObject({
  sequences: count('Number of sequences of each length.').default(500),
  lengths: counts('Tokens per sequence.').default([1024, 4096]),
  mask_ratio: share('Fraction of tokens masked for the MEAP model.').gt(0, 'a number above 0').default(0.15),
  queries: oneOf(
    ['last', 'all'],
    'Queries of the attention shares of a prompt: the last token, or the mean of all.',
  ).default('last'),
});

export const attention = taskFamily({
  data: {
    texts,
    attention_prompts: {
      what: 'records {context_before, answer, context_after, query} of text',
      source: 'your own: prompts split at the start and end of the answer to their query',
      patterns: named('attention_prompts'),
    },
  },
  settings: settings.describe('The command attention.'),
  tasks: {},
});
