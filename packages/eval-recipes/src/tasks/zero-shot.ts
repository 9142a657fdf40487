/** The zero-shot tasks of the MEAP paper (Tables 1, 5, 6, 13 to 15), as in lm-evaluation-harness; examples are possible. */
import { multipleChoiceTask, zeroShot } from '@meap/evals';
import { type DataSet, named, TRAINING_FILES } from './data-sets.ts';
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

type TrainName = `${Name}_train`;

function task(name: Name, description: string): TaskEntry<Name | TrainName> {
  return {
    description,
    data: [name],
    prompts: { examples: `${name}_train` },
    make: async ({ files, bos, prompts }) => {
      const train = files[`${name}_train`];
      const fewshotRows = train && (await readRows(train));
      return multipleChoiceTask(zeroShot[name], await readRows(files[name]), {
        bos,
        ...prompts,
        fewshotRows,
      });
    },
  };
}

/** The split from which examples are taken: on the Hub, as its authors publish it, or `NAME_train.jsonl`. */
function train(name: Name, hub: string, hubPattern: string, ...stems: string[]): DataSet {
  return {
    what: `${TITLES[name]}, train split, for examples`,
    source: `${hub} on the Hugging Face hub, train split`,
    patterns: [hubPattern, ...named(...stems, `${name}*train`)],
  };
}

export const zero_shot = taskFamily({
  data: {
    arc_easy: {
      what: 'ARC-Easy, test split',
      source: 'allenai/ai2_arc on the Hugging Face hub: ARC-Easy/test-*.parquet',
      patterns: ['**/ARC-Easy/test-*.parquet', ...named('ARC-Easy-Test', 'arc_easy')],
      not: TRAINING_FILES,
    },
    arc_challenge: {
      what: 'ARC-Challenge, test split',
      source: 'allenai/ai2_arc on the Hugging Face hub: ARC-Challenge/test-*.parquet',
      patterns: ['**/ARC-Challenge/test-*.parquet', ...named('ARC-Challenge-Test', 'arc_challenge')],
      not: TRAINING_FILES,
    },
    boolq: {
      what: 'BoolQ, validation split',
      source: 'aps/super_glue (boolq) or google/boolq on the Hugging Face hub: validation-*.parquet',
      patterns: ['**/boolq/**/validation-*.parquet', ...named('boolq*val', 'boolq*dev', 'boolq')],
      not: TRAINING_FILES,
    },
    hellaswag: {
      what: 'HellaSwag, validation split',
      source: 'Rowan/hellaswag on the Hugging Face hub: validation-*.parquet',
      patterns: ['**/hellaswag/**/validation-*.parquet', ...named('hellaswag*val', 'hellaswag')],
      not: TRAINING_FILES,
    },
    openbookqa: {
      what: 'OpenBookQA, test split',
      source: 'allenai/openbookqa on the Hugging Face hub: main/test-*.parquet',
      patterns: ['**/openbookqa/main/test-*.parquet', ...named('openbookqa*test', 'openbook*qa')],
      not: TRAINING_FILES,
    },
    piqa: {
      what: 'PIQA, validation split',
      source: 'baber/piqa on the Hugging Face hub: validation split, with labels',
      patterns: ['**/piqa/**/*validation*.parquet', ...named('piqa.', 'piqa*val', 'piqa')],
      not: TRAINING_FILES,
    },
    winogrande: {
      what: 'WinoGrande XL, validation split',
      source: 'allenai/winogrande on the Hugging Face hub: winogrande_xl, validation split',
      patterns: [
        '**/winogrande_xl/validation-*.parquet',
        ...named('winogrande*dev', 'winogrande*val', 'winogrande'),
      ],
      not: TRAINING_FILES,
    },
    social_iqa: {
      what: 'Social IQa, validation split',
      source: 'lighteval/siqa on the Hugging Face hub: validation split',
      patterns: ['**/siqa/**/*validation*.parquet', ...named('social_i*qa', 'siqa')],
      not: TRAINING_FILES,
    },
    arc_easy_train: train(
      'arc_easy',
      'allenai/ai2_arc (ARC-Easy)',
      '**/ARC-Easy/train-*.parquet',
      'ARC-Easy-Train',
    ),
    arc_challenge_train: train(
      'arc_challenge',
      'allenai/ai2_arc (ARC-Challenge)',
      '**/ARC-Challenge/train-*.parquet',
      'ARC-Challenge-Train',
    ),
    boolq_train: train('boolq', 'aps/super_glue (boolq)', '**/boolq/**/train-*.parquet'),
    hellaswag_train: train('hellaswag', 'Rowan/hellaswag', '**/hellaswag/**/train-*.parquet'),
    openbookqa_train: train(
      'openbookqa',
      'allenai/openbookqa (main)',
      '**/openbookqa/main/train-*.parquet',
      'openbook*qa*train',
    ),
    piqa_train: train('piqa', 'baber/piqa', '**/piqa/**/*train*.parquet'),
    winogrande_train: train(
      'winogrande',
      'allenai/winogrande (winogrande_xl)',
      '**/winogrande_xl/train-*.parquet',
    ),
    social_iqa_train: train('social_iqa', 'lighteval/siqa', '**/siqa/**/*train*.parquet', 'siqa*train'),
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
