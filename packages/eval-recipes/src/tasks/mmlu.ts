/** MMLU (Hendrycks et al. 2021): 57 subjects, each a task. */
import { mmlu as mmluSubject, mmluSubjects, multipleChoiceTask } from '@meap/evals';
import { z } from 'zod';
import { named } from './data-sets.ts';
import { partSettings, rowsByPart } from './parts.ts';
import { readRows } from './read-data.ts';
import { taskFamily } from './task-family.ts';

/** Another data set. */
const MMLU_PRO = named('mmlu[-_]pro');

const settings = z.strictObject({ subjects: partSettings(mmluSubjects, 'subjects') });

export const mmlu = taskFamily({
  data: {
    mmlu: {
      what: 'MMLU, test split',
      source: 'cais/mmlu on the Hugging Face hub: all/test-*.parquet',
      patterns: ['**/mmlu/all/test-*.parquet', '**/mmlu/*/test-*.parquet', ...named('mmlu*test')],
      not: MMLU_PRO,
    },
    mmlu_dev: {
      what: 'MMLU, dev split, for examples',
      source: 'cais/mmlu on the Hugging Face hub: all/dev-*.parquet',
      patterns: ['**/mmlu/all/dev-*.parquet', '**/mmlu/*/dev-*.parquet', ...named('mmlu*dev')],
      not: MMLU_PRO,
    },
  },
  settings: settings.describe('MMLU.'),
  tasks: {
    mmlu: {
      description: 'questions of examinations in 57 subjects, with totals by category; usually 5-shot',
      data: ['mmlu'],
      prompts: { examples: 'mmlu_dev' },
      make: async ({ files, settings: { subjects }, bos, prompts }) => {
        const rows = rowsByPart(await readRows(files.mmlu), 'subject', subjects, 'mmlu');
        const dev =
          files.mmlu_dev && rowsByPart(await readRows(files.mmlu_dev), 'subject', subjects, 'mmlu_dev');
        return subjects.map((subject) => {
          const fewshotRows = dev?.get(subject);
          return multipleChoiceTask(mmluSubject(subject), rows.get(subject)!, {
            bos,
            ...prompts,
            fewshotRows,
          });
        });
      },
    },
  },
  title: (task) => {
    const [, subject] = /^mmlu_(?!pro_)(.+)$/.exec(task) ?? [];
    return subject && `MMLU, ${subject.replaceAll('_', ' ')}`;
  },
});
