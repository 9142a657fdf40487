/** BLiMP (Warstadt et al. 2020): pairs of a grammatical and an ungrammatical sentence, each paradigm a task. */
import { blimp as blimpParadigm, blimpParadigms, multipleChoiceTask } from '@meap/evals';
import { z } from 'zod';
import { named } from './data-sets.ts';
import { partSettings, rowsByPart } from './parts.ts';
import { readRows } from './read-data.ts';
import { taskFamily } from './task-family.ts';

const settings = z.strictObject({ paradigms: partSettings(blimpParadigms, 'paradigms') });

export const blimp = taskFamily({
  data: {
    blimp: {
      what: 'BLiMP: pairs of sentences with their paradigm (UID)',
      source: 'nyu-mll/blimp on the Hugging Face hub: train-*.parquet of all paradigms',
      patterns: [
        '**/blimp/*/train-*.parquet',
        `**/blimp/data/{${blimpParadigms.join(',')}}.jsonl`,
        ...named('blimp'),
      ],
    },
  },
  settings: settings.describe('BLiMP.'),
  tasks: {
    blimp: {
      description: 'which of two sentences is grammatical, in 67 paradigms, with their mean',
      data: ['blimp'],
      prompts: {},
      make: async ({ files, settings: { paradigms }, bos, prompts }) => {
        const rows = rowsByPart(await readRows(files.blimp), 'UID', paradigms, 'blimp');
        return paradigms.map((paradigm) =>
          multipleChoiceTask(blimpParadigm(paradigm), rows.get(paradigm)!, { bos, ...prompts }),
        );
      },
    },
  },
  title: (task) => {
    const [, paradigm] = /^blimp_(.+)$/.exec(task) ?? [];
    return paradigm && `BLiMP, ${paradigm.replaceAll('_', ' ')}`;
  },
});
