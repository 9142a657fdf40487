/** Multi-needle reasoning (Figure 4 of the MEAP paper; M-RS of OpenCompass NeedleBench v1). */
import { multiNeedleTask } from '@meap/evals';
import { count } from '@meap/recipe-cli';
import { z } from 'zod';
import { haystack } from './data-sets.ts';
import { readRows, readTexts } from './read-data.ts';
import { counts, depths, maxNewTokens } from './setting-keys.ts';
import { taskFamily } from './task-family.ts';

const settings = z.strictObject({
  lengths: counts(
    'Tokens of a prompt, including 3,000 reserved; default: 9,000 to 32,000 in eight steps.',
  ).optional(),
  depths: depths('Depths of the first fact in percent; default: 0 to 100 in eleven steps.').optional(),
  needles: counts('Numbers of facts.').default([2, 3, 4, 5]),
  repeats: count('Records per cell of the grid.').default(10),
  max_new_tokens: maxNewTokens(2000),
});

export const m_rs = taskFamily({
  data: {
    m_rs: {
      what: 'multi-needle reasoning records of NeedleBench, English',
      source: 'opencompass/NeedleBench on the Hugging Face hub: multi_needle_reasoning_en.json',
      patterns: ['**/multi_needle_reasoning_en.json'],
    },
    haystack,
  },
  settings: settings.describe('Multi-needle reasoning.'),
  tasks: {
    m_rs: {
      description: 'multi-needle reasoning: facts spread over a long text, by their number, length and depth',
      data: ['m_rs', 'haystack'],
      make: async ({ files, settings, bos }) => {
        const { lengths, depths, needles: numNeedles, repeats: numRepeats } = settings;
        const haystack = await readTexts(files.haystack);
        const options = { haystack, lengths, depths, numNeedles, numRepeats, bos };
        const maxNewTokens = settings.max_new_tokens;
        return multiNeedleTask(await readRows(files.m_rs), { ...options, maxNewTokens });
      },
    },
  },
  title: (task) => (task === 'needlebench_multi_reasoning' ? 'Multi-needle reasoning (M-RS)' : undefined),
});
