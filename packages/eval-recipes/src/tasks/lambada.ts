/** LAMBADA: the last word of a passage, in several variants. */
import { type LambadaName, lambadaNames, lambadaTask } from '@meap/evals';
import { type DataSet, named } from './data-sets.ts';
import { readRows } from './read-data.ts';
import { type TaskEntry, taskFamily } from './task-family.ts';

const LANGUAGES = { de: 'German', en: 'English', es: 'Spanish', fr: 'French', it: 'Italian' };

/** The language of a translation. */
const languageOf = (name: string) => /_mt_(..)$/.exec(name)?.[1] as keyof typeof LANGUAGES | undefined;

function dataSet(name: LambadaName): DataSet {
  const language = languageOf(name);
  const config = language ?? 'default';
  if (name === 'lambada_standard') {
    return {
      what: 'LAMBADA as published, test split',
      source: 'cimec/lambada on the Hugging Face hub, test split',
      patterns: ['**/lambada/**/test*.parquet', ...named('lambada_standard')],
      not: ['**/*validation*'],
    };
  }
  const variant = language ? `, machine translation to ${LANGUAGES[language]}` : '';
  return {
    what: `LAMBADA as processed by OpenAI${variant}, test split`,
    source: `EleutherAI/lambada_openai on the Hugging Face hub: ${config}, test split`,
    patterns: [
      `**/lambada_openai/${config}/**/*test*.{jsonl,parquet}`,
      `**/lambada_openai/data/lambada_test${language ? `_${language}` : ''}.jsonl`,
      ...named(language ? name : 'lambada'),
    ],
    not: language ? [] : ['**/*lambada_{standard,openai_mt,test_}*', '**/*validation*'],
  };
}

const byName = <Value>(make: (name: LambadaName) => Value) =>
  Object.fromEntries(lambadaNames.map((name) => [name, make(name)])) as Record<LambadaName, Value>;

const DESCRIPTIONS: Readonly<Record<string, string>> = {
  lambada_openai: 'prediction of the last word of a passage',
  lambada_standard: 'the same in the tokenized passages of its authors',
};

export const lambada = taskFamily({
  data: {
    ...byName(dataSet),
    lambada_standard_validation: {
      what: 'LAMBADA as published, validation split, for examples',
      source: 'cimec/lambada on the Hugging Face hub, validation split',
      patterns: ['**/lambada/**/validation*.parquet', ...named('lambada_standard*val')],
    },
  },
  tasks: byName((name): TaskEntry<LambadaName | 'lambada_standard_validation'> => {
    const language = languageOf(name);
    const examples = name === 'lambada_standard' ? 'lambada_standard_validation' : 'rows';
    return {
      description: language ? `the same, translated to ${LANGUAGES[language]}` : DESCRIPTIONS[name],
      data: [name],
      prompts: { examples },
      make: async ({ files, bos, prompts }) => {
        const validation = examples !== 'rows' && files[examples];
        const fewshotRows = validation ? await readRows(validation) : undefined;
        return lambadaTask(await readRows(files[name]), { name, bos, ...prompts, fewshotRows });
      },
    };
  }),
  title: (task) => {
    if (!(lambadaNames as readonly string[]).includes(task)) return undefined;
    const language = languageOf(task);
    return `LAMBADA${language ? `, ${LANGUAGES[language]}` : task === 'lambada_standard' ? ', as published' : ''}`;
  },
});
