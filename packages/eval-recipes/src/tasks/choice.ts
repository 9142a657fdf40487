/** Multiple-choice tasks besides the paper's, as in lm-evaluation-harness. */
import { choiceTasks, multipleChoiceTask, musrParts } from '@meap/evals';
import { type DataSet, named, TRAINING_FILES } from './data-sets.ts';
import { MMLU_PRO_DATA } from './mmlu-pro.ts';
import { readRows } from './read-data.ts';
import { type TaskEntry, taskFamily } from './task-family.ts';

type Name = keyof typeof choiceTasks;

/** A data set of the Hub; also as files with its name. */
function hub(what: string, source: string, ...patterns: string[]): DataSet {
  const isTraining = what.includes('train split');
  const examples = isTraining ? ', for examples' : '';
  return {
    what: what + examples,
    source: `${source} on the Hugging Face hub`,
    patterns,
    ...(!isTraining && { not: TRAINING_FILES }),
  };
}

const data = {
  commonsense_qa: hub(
    'CommonsenseQA, validation split',
    'tau/commonsense_qa',
    '**/commonsense_qa/**/validation-*.parquet',
    ...named('commonsense_qa*val', 'commonsense_qa*dev', 'dev_rand_split', 'commonsense_qa'),
  ),
  commonsense_qa_train: hub(
    'CommonsenseQA, train split',
    'tau/commonsense_qa',
    '**/commonsense_qa/**/train-*.parquet',
    ...named('commonsense_qa*train', 'train_rand_split'),
  ),
  copa: hub(
    'COPA, validation split',
    'aps/super_glue (copa)',
    '**/copa/**/validation-*.parquet',
    ...named('copa*val', 'copa'),
  ),
  copa_train: hub(
    'COPA, train split',
    'aps/super_glue (copa)',
    '**/copa/**/train-*.parquet',
    ...named('copa*train'),
  ),
  sciq: hub('SciQ, test split', 'allenai/sciq', '**/sciq/**/test-*.parquet', ...named('sciq*test', 'sciq')),
  sciq_train: hub('SciQ, train split', 'allenai/sciq', '**/sciq/**/train-*.parquet', ...named('sciq*train')),
  swag: hub(
    'SWAG, validation split',
    'allenai/swag (regular)',
    '**/swag/regular/validation-*.parquet',
    ...named('swag*val', 'swag'),
  ),
  swag_train: hub(
    'SWAG, train split',
    'allenai/swag (regular)',
    '**/swag/regular/train-*.parquet',
    ...named('swag*train'),
  ),
  logiqa: hub(
    'LogiQA, test split',
    'EleutherAI/logiqa',
    '**/logiqa/**/*test*.parquet',
    ...named('logiqa*test', 'logiqa'),
  ),
  logiqa_train: hub(
    'LogiQA, train split',
    'EleutherAI/logiqa',
    '**/logiqa/**/*train*.parquet',
    ...named('logiqa*train'),
  ),
  pubmedqa: hub(
    'PubMedQA, test split',
    'bigbio/pubmed_qa (pubmed_qa_labeled_fold0_source)',
    '**/pubmed_qa_labeled_fold0_source/**/*test*.parquet',
    ...named('pubmed*qa*test', 'pubmed*qa'),
  ),
  pubmedqa_train: hub(
    'PubMedQA, train split',
    'bigbio/pubmed_qa (pubmed_qa_labeled_fold0_source)',
    '**/pubmed_qa_labeled_fold0_source/**/*train*.parquet',
    ...named('pubmed*qa*train'),
  ),
  race: hub(
    'RACE of high schools, test split',
    'EleutherAI/race (high)',
    '**/race/high/test-*.parquet',
    ...named('race*test', 'race_high'),
  ),
  wsc273: hub(
    'Winograd schemas, test split',
    'lighteval/winograd_wsc (wsc273)',
    '**/winograd_wsc/**/wsc273/*test*.parquet',
    ...named('wsc273'),
  ),
  truthfulqa: hub(
    'TruthfulQA multiple choice, validation split',
    'truthfulqa/truthful_qa (multiple_choice)',
    '**/truthful_qa/multiple_choice/validation-*.parquet',
    ...named('truthful*qa*mc', 'truthful*qa*val', 'truthful*qa'),
  ),
  leaderboard_musr_murder_mysteries: musr('murder_mysteries'),
  leaderboard_musr_object_placements: musr('object_placements'),
  leaderboard_musr_team_allocation: musr('team_allocation'),
  ...MMLU_PRO_DATA,
};

/** A part of MuSR: a split of its own. */
function musr(part: string): DataSet {
  const what = `MuSR, ${part.replace('_', ' ')}`;
  return hub(what, `TAUR-Lab/MuSR (${part})`, `**/musr/**/${part}*.{csv,parquet}`, ...named(part));
}

type DataName = keyof typeof data;

const TITLES: Readonly<Record<Name, string>> = {
  commonsense_qa: 'CommonsenseQA',
  copa: 'COPA',
  sciq: 'SciQ',
  swag: 'SWAG',
  logiqa: 'LogiQA',
  pubmedqa: 'PubMedQA',
  race: 'RACE',
  wsc273: 'WSC273',
  truthfulqa_mc1: 'TruthfulQA, one right answer',
  truthfulqa_mc2: 'TruthfulQA, several right answers',
  leaderboard_mmlu_pro: 'MMLU-Pro by letters',
  leaderboard_musr_murder_mysteries: 'MuSR, murder mysteries',
  leaderboard_musr_object_placements: 'MuSR, object placements',
  leaderboard_musr_team_allocation: 'MuSR, team allocation',
};

/** @param examples absent for tasks without examples */
function task(
  name: Name,
  description: string,
  set: DataName,
  examples?: DataName | 'rows',
  numFewshot?: number,
): TaskEntry<DataName> {
  return {
    description,
    data: [set],
    prompts: { examples, numFewshot },
    make: async ({ files, bos, prompts }) => {
      const train = examples === undefined || examples === 'rows' ? undefined : files[examples];
      const fewshotRows = train && (await readRows(train));
      const options = { bos, ...prompts, fewshotRows };
      return multipleChoiceTask(choiceTasks[name], await readRows(files[set]), options);
    },
  };
}

export const choice = taskFamily({
  data,
  tasks: {
    commonsense_qa: task(
      'commonsense_qa',
      'questions that require common sense',
      'commonsense_qa',
      'commonsense_qa_train',
    ),
    copa: task('copa', 'causes and effects', 'copa', 'copa_train'),
    sciq: task('sciq', 'science questions with a text that supports the answer', 'sciq', 'sciq_train'),
    swag: task('swag', 'continuation of a scene', 'swag', 'swag_train'),
    logiqa: task('logiqa', 'logical reasoning about a passage', 'logiqa', 'logiqa_train'),
    pubmedqa: task('pubmedqa', 'yes/no/maybe questions about an abstract', 'pubmedqa', 'pubmedqa_train'),
    race: task('race', 'reading comprehension of examinations for high schools', 'race', 'rows'),
    wsc273: task('wsc273', 'Winograd schemas: pronoun resolution', 'wsc273', 'rows'),
    truthfulqa_mc1: task('truthfulqa_mc1', 'questions with common misconceptions, one right', 'truthfulqa'),
    truthfulqa_mc2: task('truthfulqa_mc2', 'the same, probability of all right answers', 'truthfulqa'),
    leaderboard_mmlu_pro: task(
      'leaderboard_mmlu_pro',
      'questions with ten options, answered by a letter, five examples',
      'mmlu_pro',
      'mmlu_pro_validation',
      5,
    ),
    ...Object.fromEntries(
      musrParts.map((part) => {
        const name = `leaderboard_musr_${part}` as const;
        return [name, task(name, `reasoning over a long story: ${part.replace('_', ' ')}`, name, 'rows')];
      }),
    ),
  },
  title: (task) => (Object.hasOwn(TITLES, task) ? TITLES[task as Name] : undefined),
});
