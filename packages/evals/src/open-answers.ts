/**
 * Tasks with generated answers. Prompts, filters and versions are those of lm-evaluation-harness 0.4.13 (`lm_eval/tasks`),
 * rows those of the Hugging Face Hub.
 */
import type { AnswerFilter, FilterStep } from './answer-filters.ts';
import type { OpenAnswer } from './open-answer.ts';
import { strip } from './python-text.ts';

const TRAIN = { split: 'train', excludesRow: true } as const;

/** `\b` of Python before an article. */
const ARTICLES = /(?<![\p{L}\p{N}_])(?:The |the |An |A |a |an )/gu;

const STRIPPED: AnswerFilter = { name: 'remove_whitespace', steps: ['remove_whitespace'] };
const FACT = {
  prompt: 'Question: {question}?\nAnswer:',
  examples: TRAIN,
  until: ['\n', '.', ','],
  filters: [STRIPPED],
} as const;

const triviaQa: OpenAnswer = {
  ...FACT,
  name: 'triviaqa',
  version: 3,
  match: { ignoreCase: true, ignorePunctuation: true },
  read: (row) => ({ fields: { question: row.text('question') }, answers: row.texts('answer.aliases') }),
};

const nqOpen: OpenAnswer = {
  ...FACT,
  name: 'nq_open',
  version: 4,
  description: 'Answer these questions:\n\n',
  prompt: 'Q: {question}?\nA:',
  fewshotDelimiter: '\n',
  match: { ignoreCase: true, ignorePunctuation: true, regexesToIgnore: [ARTICLES] },
  // The rows of lost in the middle have `answers`.
  read: (row) => ({
    fields: { question: row.text('question') },
    answers: row.texts(row.has('answers') ? 'answers' : 'answer'),
  }),
};

/** The last number of a text. */
const flexible: AnswerFilter = {
  name: 'flexible-extract',
  steps: [{ regex: /(-?[$0-9.,]{2,})|(-?[0-9]+)/g, select: -1 }],
};

const NUMBER = {
  ignoreCase: true,
  // A final full stop, also before a line break, as `$` in Python.
  regexesToIgnore: [/,/g, /\$/g, /.*#### /gs, /\.(?=\n?$)/g],
};

const gsm8k: OpenAnswer = {
  name: 'gsm8k',
  version: 3,
  prompt: 'Question: {question}\nAnswer:',
  examples: { split: 'train', numFewshot: 5 },
  until: ['Question:', '</s>', '<|im_end|>'],
  filters: [{ name: 'strict-match', steps: [{ regex: /#### (-?[0-9.,]+)/g }] }, flexible],
  match: NUMBER,
  read: (row) => ({ fields: { question: row.text('question') }, answers: [row.text('answer')] }),
};

/** With the chains of thought of Wei et al. 2022 as examples. */
const gsm8kCot: OpenAnswer = {
  ...gsm8k,
  name: 'gsm8k_cot',
  prompt: 'Q: {question}\nA:',
  examples: { split: 'samples', sampler: 'first_n', numFewshot: 8 },
  until: ['Q:', '</s>', '<|im_end|>'],
  filters: [{ name: 'strict-match', steps: [{ regex: /The answer is (-?[0-9.,]+)./g }] }, flexible],
  read: (row) => ({
    fields: { question: row.text('question') },
    answers: [row.has('answer') ? strip(row.text('answer').split('####').at(-1)!) : row.text('target')],
  }),
};

const lastNumber: FilterStep = { regex: /The answer is (-?[0-9.,]*[0-9]+)/g };

/** 64 sampled answers, of which the most frequent counts (Wang et al. 2022). */
const gsm8kSelfConsistency: OpenAnswer = {
  ...gsm8kCot,
  name: 'gsm8k_cot_self_consistency',
  version: 2,
  until: ['Q:', '\n\n'],
  temperature: 0.2,
  repeats: 64,
  filters: [
    { name: 'score-first', steps: [lastNumber] },
    { name: 'maj@64', steps: [lastNumber, 'majority_vote'] },
    { name: 'maj@8', steps: [{ take: 8 }, lastNumber, 'majority_vote'] },
  ],
};

/** SVAMP (Patel et al. 2021) as Wei et al. 2022 evaluate it; the harness has no such task. */
const svamp: OpenAnswer = {
  ...gsm8kCot,
  name: 'svamp',
  version: 1,
  read: (row) => {
    if (row.has('target')) return gsm8kCot.read(row);
    const answer = Number((row.record as { Answer?: unknown }).Answer);
    if (!row.has('Answer') || !Number.isFinite(answer)) row.fail('Answer', 'a number');
    const question = `${strip(row.text('Body'))} ${strip(row.text('Question'))}`;
    return { fields: { question }, answers: [String(answer)] };
  },
};

/** Definitions of tasks by name, for `openAnswerTask(openAnswers.gsm8k, rows)`. */
export const openAnswers = {
  gsm8k,
  gsm8k_cot: gsm8kCot,
  gsm8k_cot_self_consistency: gsm8kSelfConsistency,
  svamp,
  triviaqa: triviaQa,
  nq_open: nqOpen,
} as const satisfies Record<string, OpenAnswer>;

/** Rows of the examples of `gsm8k_cot` and `svamp`, from Wei et al. 2022 (chain-of-thought prompting), Table 20. */
export const chainOfThoughtExamples = [
  {
    question:
      'There are 15 trees in the grove. Grove workers will plant trees in the grove today. After they are done, there will be 21 trees. How many trees did the grove workers plant today?',
    target:
      'There are 15 trees originally. Then there were 21 trees after some more were planted. So there must have been 21 - 15 = 6. The answer is 6.',
  },
  {
    question:
      'If there are 3 cars in the parking lot and 2 more cars arrive, how many cars are in the parking lot?',
    target: 'There are originally 3 cars. 2 more cars arrive. 3 + 2 = 5. The answer is 5.',
  },
  {
    question:
      'Leah had 32 chocolates and her sister had 42. If they ate 35, how many pieces do they have left in total?',
    target:
      'Originally, Leah had 32 chocolates. Her sister had 42. So in total they had 32 + 42 = 74. After eating 35, they had 74 - 35 = 39. The answer is 39.',
  },
  {
    question:
      'Jason had 20 lollipops. He gave Denny some lollipops. Now Jason has 12 lollipops. How many lollipops did Jason give to Denny?',
    target:
      'Jason started with 20 lollipops. Then he had 12 after giving some to Denny. So he gave Denny 20 - 12 = 8. The answer is 8.',
  },
  {
    question:
      'Shawn has five toys. For Christmas, he got two toys each from his mom and dad. How many toys does he have now?',
    target:
      'Shawn started with 5 toys. If he got 2 toys each from his mom and dad, then that is 4 more toys. 5 + 4 = 9. The answer is 9.',
  },
  {
    question:
      'There were nine computers in the server room. Five more computers were installed each day, from monday to thursday. How many computers are now in the server room?',
    target:
      'There were originally 9 computers. For each of 4 days, 5 more computers were added. So 5 * 4 = 20 computers were added. 9 + 20 is 29. The answer is 29.',
  },
  {
    question:
      'Michael had 58 golf balls. On tuesday, he lost 23 golf balls. On wednesday, he lost 2 more. How many golf balls did he have at the end of wednesday?',
    target:
      'Michael started with 58 golf balls. After losing 23 on tuesday, he had 58 - 23 = 35. After losing 2 more, he had 35 - 2 = 33 golf balls. The answer is 33.',
  },
  {
    question: 'Olivia has $23. She bought five bagels for $3 each. How much money does she have left?',
    target:
      'Olivia had 23 dollars. 5 bagels for 3 dollars each will be 5 x 3 = 15 dollars. So she has 23 - 15 dollars left. 23 - 15 is 8. The answer is 8.',
  },
] as const;
