/** Contextual hallucination (Table 4 of the MEAP paper): summaries of articles, and who judges them. */
import { type ChatJudge, chatJudge, contextualHallucination, type Judge, overlapJudge } from '@meap/evals';
import { ConfigurationError, count, nonNegative, oneOf, text } from '@meap/recipe-cli';
import { z } from 'zod';
import { named } from './data-sets.ts';
import { readRows } from './read-data.ts';
import { maxNewTokens } from './setting-keys.ts';
import { type TaskEntry, type TaskSources, taskFamily } from './task-family.ts';

const settings = z.strictObject({
  articles: count('Articles of each data set, drawn at random with seed.').default(100),
  judge: oneOf(
    ['overlap', 'chat'],
    'Who judges: which words the article lacks, or a chat model at judge_url.',
  ).default('overlap'),
  judge_url: text('Base address of an OpenAI-compatible API, such as http://127.0.0.1:8000/v1.').optional(),
  judge_model: text('Name of the model there.').optional(),
  judge_key_env: text('Environment variable with the key for it.').optional(),
  against: oneOf(
    ['reference', 'article'],
    'What the judge holds a summary against: the summary that a person wrote, or the article.',
  ).default('reference'),
  requests_per_minute: count('Most requests to the judge.').optional(),
  judge_prices: z
    .strictObject({
      prompt: nonNegative('Of what is sent.'),
      completion: nonNegative('Of what is answered.'),
    })
    .describe('What a million of the judge’s tokens costs: the cost is then told with their number.')
    .optional(),
  prompt_template: text('Text around {instruction}: the template that the model was tuned with.').optional(),
  max_new_tokens: maxNewTokens(256),
});

type Settings = z.output<typeof settings>;
type Name = 'xsum' | 'multi_news' | 'wikisum';

function task(name: Name, title: string): TaskEntry<Name, Settings> {
  return {
    description: `whether summaries of ${title} keep to the article`,
    data: [name],
    make: async (sources) => {
      const { settings, files, seed } = sources;
      const { articles, judge, prompt_template: promptTemplate, max_new_tokens: maxNewTokens } = settings;
      return contextualHallucination({
        dataSet: name,
        rows: await readRows(files[name]),
        numArticles: articles,
        seed,
        judge: judge === 'overlap' ? overlapJudge() : reported(chatJudgeOf(sources), sources),
        promptTemplate,
        maxNewTokens,
      });
    },
  };
}

/** A judge whose judgements are reported as they come: a hundred take minutes. */
function reported(judge: ChatJudge, { onEvent }: Pick<TaskSources, 'onEvent'>): Judge {
  let numJudged = 0;
  return {
    ...judge,
    async judge(judgeCase) {
      const judgement = await judge.judge(judgeCase);
      numJudged++;
      onEvent?.({ type: 'judge', numJudged, usage: judge.usage() });
      return judgement;
    },
  };
}

function chatJudgeOf({ settings, judgements, signal }: TaskSources<Name, Settings>): ChatJudge {
  const { judge_url, judge_model, judge_key_env, judge_prices, against, requests_per_minute } = settings;
  // Keys come from the environment only: recipes and command lines are seen by others.
  const apiKey = judge_key_env === undefined ? undefined : process.env[judge_key_env];
  if (judge_key_env !== undefined && !apiKey) {
    throw new ConfigurationError([
      `hallucination.judge_key_env: got ${judge_key_env}, expected a variable that is set to a key`,
    ]);
  }
  return chatJudge({
    url: judge_url!,
    model: judge_model!,
    apiKey,
    against,
    requestsPerMinute: requests_per_minute,
    prices: judge_prices,
    store: judgements,
    signal,
  });
}

export const hallucination = taskFamily({
  data: {
    xsum: {
      what: 'XSum, test split',
      source: 'EdinburghNLP/xsum on the Hugging Face hub',
      patterns: named('xsum*test', 'xsum'),
    },
    multi_news: {
      what: 'Multi-News, test split',
      source: 'alexfabbri/multi_news on the Hugging Face hub',
      patterns: named('multi_news*test', '*multi_news'),
    },
    wikisum: {
      what: 'WikiSum, test split',
      source: 'd0rj/wikisum on the Hugging Face hub',
      patterns: named('wikisum*test', 'wikisum'),
    },
  },
  settings: settings.describe('Contextual hallucination.'),
  check({ judge, judge_url, judge_model }, path, refusals) {
    if (judge !== 'chat') return;
    if (judge_url === undefined) {
      refusals.add(`${path}.judge_url`, judge_url, 'the address of an API with judge chat');
    }
    if (judge_model === undefined) {
      refusals.add(`${path}.judge_model`, judge_model, 'the name of a model with judge chat');
    }
  },
  tasks: {
    hallucination_xsum: task('xsum', 'XSum'),
    hallucination_multi_news: task('multi_news', 'Multi-News'),
    hallucination_wikisum: task('wikisum', 'WikiSum'),
  },
  title: (task) => {
    const [, dataSet] = /^hallucination_(.+)$/.exec(task) ?? [];
    return dataSet === undefined ? undefined : `Contextual hallucination, ${dataSet}`;
  },
});
