/** MMLU-Pro (Wang et al. 2024): 14 subjects, each a task. */
import { mmluPro, mmluProSubjects, openAnswerTask } from '@meap/evals';
import { count } from '@meap/recipe-cli';
import { z } from 'zod';
import { named } from './data-sets.ts';
import { partSettings, rowsByPart } from './parts.ts';
import { readRows } from './read-data.ts';
import { taskFamily } from './task-family.ts';

const settings = z.strictObject({
  subjects: partSettings(mmluProSubjects, 'subjects'),
  max_gen_toks: count('Maximum tokens of an answer; default: 2048.').optional(),
});

/** Also of the task `leaderboard_mmlu_pro`. */
export const MMLU_PRO_DATA = {
  mmlu_pro: {
    what: 'MMLU-Pro, test split',
    source: 'TIGER-Lab/MMLU-Pro on the Hugging Face hub: data/test-*.parquet',
    patterns: ['**/mmlu-pro/data/test-*.parquet', ...named('mmlu[-_]pro*test')],
  },
  mmlu_pro_validation: {
    what: 'MMLU-Pro, validation split, for examples',
    source: 'TIGER-Lab/MMLU-Pro on the Hugging Face hub: data/validation-*.parquet',
    patterns: ['**/mmlu-pro/data/validation-*.parquet', ...named('mmlu[-_]pro*val')],
  },
};

export const mmlu_pro = taskFamily({
  data: MMLU_PRO_DATA,
  settings: settings.describe('MMLU-Pro.'),
  tasks: {
    mmlu_pro: {
      description: 'the same with ten options, answered after a chain of thought, five examples, 14 subjects',
      data: ['mmlu_pro'],
      prompts: { examples: 'mmlu_pro_validation', numFewshot: 5 },
      make: async ({ files, settings: { subjects, max_gen_toks: maxGenToks }, bos, prompts }) => {
        const read = async (name: 'mmlu_pro' | 'mmlu_pro_validation') =>
          rowsByPart(await readRows(files[name]), 'category', subjects, name);
        const rows = await read('mmlu_pro');
        const examples = files.mmlu_pro_validation && (await read('mmlu_pro_validation'));
        return subjects.map((subject) =>
          openAnswerTask(mmluPro(subject), rows.get(subject)!, {
            ...prompts,
            ...{ maxGenToks, bos, fewshotRows: examples?.get(subject) },
          }),
        );
      },
    },
  },
  title: (task) => {
    const [, subject] = /^mmlu_pro_(.+)$/.exec(task) ?? [];
    return subject && `MMLU-Pro, ${subject.replaceAll('_', ' ')}`;
  },
});
