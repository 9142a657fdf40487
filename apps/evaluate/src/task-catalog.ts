/** Every task by name: what it measures, what data it needs, how it is made from them. */
import {
  type AnswerStore,
  type JudgeUsage,
  keyValueTask,
  lambadaTask,
  multiDocumentQaTask,
  multiNeedleTask,
  multipleChoiceTask,
  needleTask,
  perplexityByPositionTask,
  perplexityTask,
  rulerTask,
  type Task,
  zeroShot,
} from '@meap/evals';
import type { EvaluateConfig } from './config.ts';
import type { DataSetName } from './data-sets.ts';
import { type DataFiles, readRows, readTexts } from './find-data.ts';
import { hallucinationTask } from './hallucination.ts';

/** A judge has judged one more text; `usage` is what all have taken. */
export interface JudgeEvent {
  readonly type: 'judge';
  readonly numJudged: number;
  readonly usage: JudgeUsage;
}

/** What tasks are made of. */
export interface TaskSources {
  readonly files: Required<DataFiles>;
  readonly config: EvaluateConfig;
  /** Keeps what a judge said; nothing does without. */
  readonly judgements?: AnswerStore;
  readonly signal?: AbortSignal;
  /** Hears of each judgement. */
  readonly onEvent?: (event: JudgeEvent) => void;
}

/** A task before its data are read. */
export interface TaskEntry {
  /** What it measures, in one line. */
  readonly description: string;
  /** Data sets that it reads. */
  readonly data: readonly DataSetName[];
  /** One task, or several of one kind. */
  make(sources: TaskSources): Promise<Task | Task[]>;
}

function zeroShotEntry(name: keyof typeof zeroShot, description: string): TaskEntry {
  return {
    description,
    data: [name],
    make: async ({ files, config: { bos } }) =>
      multipleChoiceTask(zeroShot[name], await readRows(files[name]), { bos }),
  };
}

function hallucinationEntry(name: 'xsum' | 'multi_news' | 'wikisum', title: string): TaskEntry {
  return {
    description: `whether summaries of ${title} keep to the article`,
    data: [name],
    make: async (sources) => hallucinationTask(name, await readRows(sources.files[name]), sources),
  };
}

/** The tasks, in the order in which `list` shows them. */
export const TASKS = {
  arc_easy: zeroShotEntry('arc_easy', 'science questions of grade school, the easy ones'),
  arc_challenge: zeroShotEntry('arc_challenge', 'science questions of grade school, the hard ones'),
  boolq: zeroShotEntry('boolq', 'yes or no after a passage'),
  hellaswag: zeroShotEntry('hellaswag', 'how a scene goes on'),
  openbookqa: zeroShotEntry('openbookqa', 'science questions that need a fact and common sense'),
  piqa: zeroShotEntry('piqa', 'which of two ways to do a thing works'),
  winogrande: zeroShotEntry('winogrande', 'whom a pronoun means'),
  social_iqa: zeroShotEntry('social_iqa', 'why people do what they do'),
  lambada_openai: {
    description: 'the last word of a passage',
    data: ['lambada_openai'],
    make: async ({ files, config: { bos } }) => lambadaTask(await readRows(files.lambada_openai), { bos }),
  },
  perplexity: {
    description: 'perplexity and bits per byte of texts',
    data: ['texts'],
    make: async ({ files }) => perplexityTask(await readTexts(files.texts)),
  },
  perplexity_by_position: {
    description:
      'perplexity of long texts by the number of tokens before, which shows how much context is of use',
    data: ['texts'],
    make: async ({ files, config: { perplexity_by_position } }) => {
      const { length, windows: maxWindows } = perplexity_by_position;
      return perplexityByPositionTask(await readTexts(files.texts), { length, maxWindows });
    },
  },
  niah: {
    description: 'needle in a haystack: a sentence in a long text, by length and depth',
    data: ['haystack'],
    make: async ({ files, config: { bos, niah } }) => {
      const { lengths, depths, needles, template, max_new_tokens: maxNewTokens } = niah;
      const haystack = await readTexts(files.haystack);
      return needleTask({ haystack, lengths, depths, needles, template, maxNewTokens, bos });
    },
  },
  mdqa: {
    description: 'multi-document question answering, by position of the document with the answer',
    data: ['mdqa'],
    make: async ({ files, config: { bos, seed, mdqa } }) => {
      const rows = await readRows(files.mdqa);
      const { documents, positions, distractors } = mdqa;
      const { max_prompt_tokens: maxPromptTokens, max_new_tokens: maxNewTokens } = mdqa;
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
  kv_retrieval: {
    description: 'the value of one of many random keys, by position',
    data: ['kv_retrieval'],
    make: async ({ files, config: { bos, kv_retrieval } }) => {
      const { positions, max_new_tokens: maxNewTokens } = kv_retrieval;
      return keyValueTask(await readRows(files.kv_retrieval), { positions, maxNewTokens, bos });
    },
  },
  m_rs: {
    description: 'multi-needle reasoning: facts spread over a long text, by number, length and depth',
    data: ['m_rs', 'haystack'],
    make: async ({ files, config: { bos, m_rs } }) => {
      const { lengths, depths, needles: numNeedles, repeats: numRepeats } = m_rs;
      const haystack = await readTexts(files.haystack);
      const options = { haystack, lengths, depths, numNeedles, numRepeats, bos };
      return multiNeedleTask(await readRows(files.m_rs), { ...options, maxNewTokens: m_rs.max_new_tokens });
    },
  },
  ruler: {
    description: 'RULER’s synthetic tasks, by length, and the effective length that follows',
    data: ['haystack'],
    make: async ({ files, config: { bos, seed, ruler } }) => {
      const haystack = await readTexts(files.haystack);
      const { tasks, lengths, samples: numSamples } = ruler;
      return tasks.map((task) => rulerTask(task, { haystack, lengths, numSamples, seed, bos }));
    },
  },
  hallucination_xsum: hallucinationEntry('xsum', 'XSum'),
  hallucination_multi_news: hallucinationEntry('multi_news', 'Multi-News'),
  hallucination_wikisum: hallucinationEntry('wikisum', 'WikiSum'),
} as const satisfies Record<string, TaskEntry>;

/** Name of a task. */
export type TaskName = keyof typeof TASKS;
