/** The English question answering of LongBench (Bai et al. 2024). */
import { type LongBenchName, longBench, longBenchNames, openAnswerTask } from '@meap/evals';
import { type DataSet, named } from './data-sets.ts';
import { readRows } from './read-data.ts';
import { type TaskEntry, taskFamily } from './task-family.ts';

type Name = `longbench_${LongBenchName}`;

const TASKS: Readonly<Record<LongBenchName, readonly [title: string, description: string]>> = {
  narrativeqa: ['NarrativeQA', 'questions about a book or film script'],
  qasper: ['Qasper', 'questions about a scientific article'],
  multifieldqa_en: ['MultiFieldQA', 'questions about a document of any field'],
  hotpotqa: ['HotpotQA', 'questions that need two of several passages'],
  '2wikimqa': ['2WikiMultihopQA', 'questions that need two to four of several passages'],
  musique: ['MuSiQue', 'questions that need two to four of several passages'],
  triviaqa: ['TriviaQA', 'trivia questions about a passage, with examples'],
};

const byTask = <Value>(make: (name: LongBenchName) => Value) =>
  Object.fromEntries(longBenchNames.map((name) => [`longbench_${name}`, make(name)])) as Record<Name, Value>;

export const longbench = taskFamily({
  data: byTask(
    (name): DataSet => ({
      what: `LongBench, ${TASKS[name][0]}`,
      source: `Xnhyacinth/LongBench (${name}) on the Hugging Face hub, test split`,
      patterns: [
        `**/LongBench/${name}/**/*.parquet`,
        `**/LongBench/**/${name}.jsonl`,
        ...named(`longbench_${name}`),
      ],
    }),
  ),
  tasks: byTask(
    (name): TaskEntry<Name> => ({
      description: `LongBench, ${TASKS[name][0]}: ${TASKS[name][1]}; F1`,
      data: [`longbench_${name}`],
      prompts: { examples: 'rows' },
      make: async ({ files, bos, prompts }) =>
        openAnswerTask(longBench(name), await readRows(files[`longbench_${name}`]), { bos, ...prompts }),
    }),
  ),
  title: (task) => {
    const name = longBenchNames.find((name) => task === `longbench_${name}`);
    return name && `LongBench, ${TASKS[name][0]}`;
  },
});
