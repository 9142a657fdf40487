/**
 * The English question answering of LongBench (Bai et al. 2024) by F1, as in lm-evaluation-harness 0.4.13
 * (`lm_eval/tasks/longbench`).
 */
import { answerF1 } from './answer-match.ts';
import type { OpenAnswer } from './open-answer.ts';

/** The tasks, named as the configurations of the data set. */
export const longBenchNames = [
  'narrativeqa',
  'qasper',
  'multifieldqa_en',
  'hotpotqa',
  '2wikimqa',
  'musique',
  'triviaqa',
] as const;

/** A task of {@link longBench}. */
export type LongBenchName = (typeof longBenchNames)[number];

const CONCISELY =
  'as concisely as you can, using a single phrase or sentence if possible. If the question cannot be answered based on the ' +
  'information in the article, write "unanswerable". If the question is a yes/no question, answer "yes", "no", or ' +
  '"unanswerable". Do not provide any explanation.';

const PASSAGES =
  'Answer the question based on the given passages. Only give me the answer and do not output any other words.';

const severalDocuments = {
  prompt: `${PASSAGES}\n\nThe following are given passages.\n{context}\n\n${PASSAGES}\n\nQuestion: {question}\nAnswer:`,
  maxGenToks: 32,
};

const TASKS: Readonly<
  Record<LongBenchName, Pick<OpenAnswer, 'prompt' | 'maxGenToks'> & Partial<OpenAnswer>>
> = {
  narrativeqa: {
    // The missing space is in the published prompt.
    prompt:
      'You are given a story, which can be either a novel or a movie script, and a question. Answer the question ' +
      'asconcisely as you can, using a single phrase if possible. Do not provide any explanation.\n\nStory: {context}\n\n' +
      'Now, answer the question based on the story asconcisely as you can, using a single phrase if possible. Do not ' +
      'provide any explanation.\n\nQuestion: {question}\n\nAnswer:',
    maxGenToks: 128,
  },
  qasper: {
    prompt:
      `You are given a scientific article and a question. Answer the question ${CONCISELY}\n\nArticle: {context}\n\n ` +
      `Answer the question based on the above article ${CONCISELY}\n\nQuestion: {question}\n\nAnswer:`,
    maxGenToks: 128,
  },
  multifieldqa_en: {
    prompt:
      'Read the following text and answer briefly.\n\n{context}\n\nNow, answer the following question based on the above ' +
      'text, only give me the answer and do not output any other words.\n\nQuestion: {question}\nAnswer:',
    maxGenToks: 64,
  },
  hotpotqa: severalDocuments,
  '2wikimqa': severalDocuments,
  musique: severalDocuments,
  triviaqa: {
    prompt:
      'Answer the question based on the given passage. Only give me the answer and do not output any other words. The ' +
      'following are some examples.\n\n{context}\n{question}',
    maxGenToks: 32,
    delimiter: '',
    until: ['\n'],
  },
};

/** A task over rows `{context, question, answers}`; the authors' files have `input` for the question. */
export function longBench(name: LongBenchName): OpenAnswer {
  return {
    name: `longbench_${name}`,
    version: 5,
    examples: { split: 'test' },
    until: [],
    filters: [{ name: 'none', steps: [] }],
    match: { metrics: ['score', 'qa_f1_score'], score: answerF1 },
    read: (row) => ({
      fields: {
        context: row.text('context'),
        question: row.text(row.has('question') ? 'question' : 'input'),
      },
      answers: row.texts('answers'),
    }),
    ...TASKS[name],
  };
}
