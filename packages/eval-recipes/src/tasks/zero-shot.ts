/** Zero-shot tasks as in lm-evaluation-harness (Tables 1, 5, 6, 13 to 15 of the MEAP paper). */
import { multipleChoiceTask, zeroShot } from '@meap/evals';
import { named } from './data-sets.ts';
import { readRows } from './read-data.ts';
import { type TaskEntry, taskFamily } from './task-family.ts';

type Name = keyof typeof zeroShot;

const TITLES: Readonly<Record<Name, string>> = {
  arc_easy: 'ARC-e',
  arc_challenge: 'ARC-c',
  boolq: 'BoolQ',
  hellaswag: 'HellaSwag',
  openbookqa: 'OpenBookQA',
  piqa: 'PIQA',
  winogrande: 'WinoGrande',
  social_iqa: 'Social IQa',
};

function task(name: Name, description: string): TaskEntry<Name> {
  return {
    description,
    data: [name],
    make: async ({ files, bos }) => multipleChoiceTask(zeroShot[name], await readRows(files[name]), { bos }),
  };
}

export const zero_shot = taskFamily({
  data: {
    arc_easy: {
      what: 'ARC-Easy, test split',
      source: 'allenai/ai2_arc on the Hugging Face hub: ARC-Easy/test-*.parquet',
      patterns: ['**/ARC-Easy/test-*.parquet', ...named('ARC-Easy-Test', 'arc_easy')],
    },
    arc_challenge: {
      what: 'ARC-Challenge, test split',
      source: 'allenai/ai2_arc on the Hugging Face hub: ARC-Challenge/test-*.parquet',
      patterns: ['**/ARC-Challenge/test-*.parquet', ...named('ARC-Challenge-Test', 'arc_challenge')],
    },
    boolq: {
      what: 'BoolQ, validation split',
      source: 'aps/super_glue (boolq) or google/boolq on the Hugging Face hub: validation-*.parquet',
      patterns: ['**/boolq/**/validation-*.parquet', ...named('boolq*val', 'boolq*dev', 'boolq')],
    },
    hellaswag: {
      what: 'HellaSwag, validation split',
      source: 'Rowan/hellaswag on the Hugging Face hub: validation-*.parquet',
      patterns: ['**/hellaswag/**/validation-*.parquet', ...named('hellaswag*val', 'hellaswag')],
    },
    openbookqa: {
      what: 'OpenBookQA, test split',
      source: 'allenai/openbookqa on the Hugging Face hub: main/test-*.parquet',
      patterns: ['**/openbookqa/main/test-*.parquet', ...named('openbookqa*test', 'openbook*qa')],
    },
    piqa: {
      what: 'PIQA, validation split',
      source: 'baber/piqa on the Hugging Face hub: validation split, with labels',
      patterns: ['**/piqa/**/*validation*.parquet', ...named('piqa.', 'piqa*val', 'piqa')],
    },
    winogrande: {
      what: 'WinoGrande XL, validation split',
      source: 'allenai/winogrande on the Hugging Face hub: winogrande_xl, validation split',
      patterns: [
        '**/winogrande_xl/validation-*.parquet',
        ...named('winogrande*dev', 'winogrande*val', 'winogrande'),
      ],
    },
    social_iqa: {
      what: 'Social IQa, validation split',
      source: 'lighteval/siqa on the Hugging Face hub: validation split',
      patterns: ['**/siqa/**/*validation*.parquet', ...named('social_i*qa', 'siqa')],
    },
  },
  tasks: {
    arc_easy: task('arc_easy', 'grade-school science questions, easy set'),
    arc_challenge: task('arc_challenge', 'grade-school science questions, challenge set'),
    boolq: task('boolq', 'yes/no questions about a passage'),
    hellaswag: task('hellaswag', 'continuation of a scene'),
    openbookqa: task('openbookqa', 'science questions that require a fact and common sense'),
    piqa: task('piqa', 'physical commonsense: which of two solutions works'),
    winogrande: task('winogrande', 'pronoun resolution'),
    social_iqa: task('social_iqa', 'social commonsense: reasons and reactions'),
  },
  title: (task) => (Object.hasOwn(TITLES, task) ? TITLES[task as Name] : undefined),
});
