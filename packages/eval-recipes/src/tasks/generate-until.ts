/** Questions with generated answers, as in lm-evaluation-harness. */
import { chainOfThoughtExamples, openAnswers, openAnswerTask } from '@meap/evals';
import { count } from '@meap/recipe-cli';
import { z } from 'zod';
import { named, TRAINING_FILES } from './data-sets.ts';
import { readRows } from './read-data.ts';
import { type TaskEntry, taskFamily } from './task-family.ts';

type Name = keyof typeof openAnswers;

const settings = z.strictObject({
  until: z
    .array(z.string().min(1, 'text that is not empty'), 'a list of texts')
    .min(1, 'at least one text')
    .describe('Texts that end an answer; default: those of the task.')
    .optional(),
  max_gen_toks: count('Maximum tokens of an answer; default: 256.').optional(),
  temperature: z
    .number('a number from 0')
    .min(0, 'a number from 0')
    .describe('0 is greedy; default: that of the task, mostly 0.')
    .optional(),
  repeats: count(
    'Answers to each question, of which the most frequent also counts (exact_match,maj@N); default: that of the task, mostly 1.',
  ).optional(),
});

const TITLES: Readonly<Record<Name, string>> = {
  gsm8k: 'GSM8K',
  gsm8k_cot: 'GSM8K, chain of thought',
  gsm8k_cot_self_consistency: 'GSM8K, self-consistency',
  svamp: 'SVAMP',
  triviaqa: 'TriviaQA',
  nq_open: 'Natural Questions',
};

type Evaluated = 'gsm8k' | 'svamp' | 'triviaqa' | 'nq_open';
type Train = 'gsm8k_train' | 'triviaqa_train' | 'nq_open_train';

/** @param train the data set of the examples; absent where these are chains of thought */
function task(
  name: Name,
  description: string,
  data: Evaluated,
  train?: Train,
): TaskEntry<Evaluated | Train, z.output<typeof settings>> {
  const definition = openAnswers[name];
  return {
    description,
    data: [data],
    prompts: { examples: train ?? 'rows', numFewshot: definition.examples?.numFewshot },
    make: async ({ files, settings, bos, seed, prompts }) => {
      const { until, max_gen_toks: maxGenToks, temperature, repeats } = settings;
      const examples = train && files[train];
      return openAnswerTask(definition, await readRows(files[data]), {
        ...prompts,
        ...{ until, maxGenToks, temperature, repeats, bos, seed },
        fewshotRows: train ? examples && (await readRows(examples)) : chainOfThoughtExamples,
      });
    },
  };
}

export const generate_until = taskFamily({
  data: {
    gsm8k: {
      what: 'GSM8K, test split',
      source: 'openai/gsm8k on the Hugging Face hub: main/test-*.parquet',
      patterns: [
        '**/gsm8k/main/test-*.parquet',
        '**/grade_school_math/data/test.jsonl',
        ...named('gsm8k*test', 'gsm8k'),
      ],
      not: TRAINING_FILES,
    },
    gsm8k_train: {
      what: 'GSM8K, train split, for examples',
      source: 'openai/gsm8k on the Hugging Face hub: main/train-*.parquet',
      patterns: [
        '**/gsm8k/main/train-*.parquet',
        '**/grade_school_math/data/train.jsonl',
        ...named('gsm8k*train'),
      ],
    },
    svamp: {
      what: 'SVAMP, test split',
      source:
        'ChilleD/SVAMP on the Hugging Face hub, test split, or the authors’ SVAMP.json with all 1,000 rows',
      patterns: ['**/SVAMP/**/*test*.parquet', ...named('svamp*test', 'svamp')],
      not: TRAINING_FILES,
    },
    triviaqa: {
      what: 'TriviaQA without contexts, validation split',
      source: 'mandarjoshi/trivia_qa on the Hugging Face hub: rc.nocontext, validation split',
      patterns: [
        '**/trivia*qa/rc.nocontext/validation-*.parquet',
        ...named('trivia*qa*val', 'trivia*qa*dev', 'trivia*qa'),
      ],
      not: TRAINING_FILES,
    },
    triviaqa_train: {
      what: 'TriviaQA without contexts, train split, for examples',
      source: 'mandarjoshi/trivia_qa on the Hugging Face hub: rc.nocontext, train split',
      patterns: ['**/trivia*qa/rc.nocontext/train-*.parquet', ...named('trivia*qa*train')],
    },
    nq_open: {
      what: 'Natural Questions open, validation split',
      source: 'google-research-datasets/nq_open on the Hugging Face hub: validation split',
      patterns: [
        '**/nq_open/**/validation-*.parquet',
        ...named('nq[-_]open*val', 'nq[-_]open*dev', 'nq_open', 'nq-open-oracle'),
      ],
      not: TRAINING_FILES,
    },
    nq_open_train: {
      what: 'Natural Questions open, train split, for examples',
      source: 'google-research-datasets/nq_open on the Hugging Face hub: train split',
      patterns: ['**/nq_open/**/train-*.parquet', ...named('nq[-_]open*train')],
    },
  },
  settings: settings.describe('Tasks with generated answers.'),
  tasks: {
    gsm8k: task('gsm8k', 'grade-school mathematics, five examples', 'gsm8k', 'gsm8k_train'),
    gsm8k_cot: task('gsm8k_cot', 'the same, eight examples with chains of thought', 'gsm8k'),
    gsm8k_cot_self_consistency: task(
      'gsm8k_cot_self_consistency',
      'the same, the most frequent of 64 sampled answers',
      'gsm8k',
    ),
    svamp: task('svamp', 'variations of elementary word problems, the examples of gsm8k_cot', 'svamp'),
    triviaqa: task('triviaqa', 'trivia questions without documents', 'triviaqa', 'triviaqa_train'),
    nq_open: task('nq_open', 'questions to a search engine without documents', 'nq_open', 'nq_open_train'),
  },
  title: (task) => (Object.hasOwn(TITLES, task) ? TITLES[task as Name] : undefined),
});
