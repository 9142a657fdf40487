/**
 * MMLU-Pro (Wang et al. 2024): questions with up to ten options, answered after a chain of thought, as in
 * lm-evaluation-harness 0.4.13 (`lm_eval/tasks/mmlu_pro`).
 */
import { lettered } from './choice-tasks.ts';
import type { OpenAnswer } from './open-answer.ts';
import { strip } from './python-text.ts';

/** The 14 subjects, as the data set's field `category` names them. */
export const mmluProSubjects = [
  'biology',
  'business',
  'chemistry',
  'computer science',
  'economics',
  'engineering',
  'health',
  'history',
  'law',
  'math',
  'other',
  'philosophy',
  'physics',
  'psychology',
] as const;

/** A subject of MMLU-Pro. */
export type MmluProSubject = (typeof mmluProSubjects)[number];

/** What the published examples begin with; the prompt ends with the same. */
const THINKING = "Let's think step by step.";

const MAX_OPTIONS = 10;

/**
 * A subject over rows `{question, options, answer}`; the examples, by default five, are the first rows of the split
 * `validation`, and also have `cot_content`.
 */
export function mmluPro(subject: MmluProSubject): OpenAnswer {
  return {
    name: `mmlu_pro_${subject.replaceAll(' ', '_')}`,
    version: 3.1,
    memberOf: [{ name: 'mmlu_pro', version: 2, metrics: ['exact_match,custom-extract'], weightBySize: true }],
    description:
      `The following are multiple choice questions (with answers) about ${subject}. Think step by step and then finish ` +
      'your answer with "the answer is (X)" where X is the correct letter choice.\n',
    prompt: `Question:\n{question}\nOptions:\n{options}\nAnswer: ${THINKING}`,
    examples: { split: 'validation', sampler: 'first_n', numFewshot: 5 },
    until: ['Question:'],
    maxGenToks: 2048,
    filters: [{ name: 'custom-extract', steps: [{ regex: /answer is \(?([ABCDEFGHIJ])\)?/g }] }],
    match: { ignoreCase: true, ignorePunctuation: true },
    read: (row) => ({
      fields: {
        question: row.text('question'),
        options: lettered(row.texts('options').slice(0, MAX_OPTIONS).map(strip)),
      },
      answers: [row.text('answer')],
    }),
    readExample: (row) => row.text('cot_content').replaceAll(`A: ${THINKING} `, ''),
  };
}
