/** Multi-document question answering (Tables 3, 7, 8, 9, 15 of the MEAP paper; lost in the middle, Liu et al. 2023). */
import { multiDocumentQaTask } from '@meap/evals';
import { count, oneOf } from '@meap/recipe-cli';
import { z } from 'zod';
import { named } from './data-sets.ts';
import { readRows } from './read-data.ts';
import { counts, maxNewTokens } from './setting-keys.ts';
import { taskFamily } from './task-family.ts';

const settings = z.strictObject({
  documents: counts('Documents per prompt; each number is a task.').default([20]),
  positions: counts(
    'Positions of the document with the answer; default: first, every fifth, last.',
  ).optional(),
  distractors: oneOf(
    ['retrieved', 'other-answers'],
    'Source of the other documents: retrieved for the row, or answers of other rows.',
  ).default('retrieved'),
  max_prompt_tokens: count('Longer prompts are skipped; 4096 in the published program.').optional(),
  max_new_tokens: maxNewTokens(100),
});

export const mdqa = taskFamily({
  data: {
    mdqa: {
      what: 'questions with 20 documents each, one of which contains the answer',
      source:
        'the repository lost-in-the-middle by Liu et al.: qa_data/20_total_documents/nq-open-20_total_documents_gold_at_0.jsonl.gz',
      patterns: ['**/nq-open-20_total_documents_gold_at_0.jsonl{,.gz}', ...named('mdqa')],
    },
  },
  settings: settings.describe('Multi-document question answering.'),
  tasks: {
    mdqa: {
      description: 'multi-document question answering, by the position of the document with the answer',
      data: ['mdqa'],
      make: async ({ files, settings, bos, seed }) => {
        const rows = await readRows(files.mdqa);
        const { documents, positions, distractors } = settings;
        const { max_prompt_tokens: maxPromptTokens, max_new_tokens: maxNewTokens } = settings;
        const options = { distractors, seed, maxPromptTokens, maxNewTokens, bos };
        return documents.map((numDocuments) =>
          multiDocumentQaTask(rows, {
            ...options,
            numDocuments,
            positions: positions?.filter((position) => position <= numDocuments),
          }),
        );
      },
    },
  },
  title: (task) => {
    const [, count, others] = /^mdqa_(\d+)(_other_answers)?$/.exec(task) ?? [];
    if (count === undefined) return undefined;
    const title = `Multi-document QA, ${count} documents`;
    return others === undefined ? title : `${title}, distractors from other rows`;
  },
});
