/** Contextual hallucination (Table 4 of the MEAP paper): summaries of articles, scored by a judge. */
import { type ChatJudge, chatJudge, contextualHallucination, type Judge, overlapJudge } from '@meap/evals';
import { ConfigurationError, count, nonNegative, oneOf, text } from '@meap/recipe-cli';
import { z } from 'zod';
import { named } from './data-sets.ts';
import { readRows } from './read-data.ts';
import { maxNewTokens } from './setting-keys.ts';
import { type TaskEntry, type TaskSources, taskFamily } from './task-family.ts';

const settings = z.strictObject({
  articles: count('Number of articles of each data set, drawn at random with seed.').default(100),
  judge: oneOf(
    ['overlap', 'chat'],
    'The judge: overlap (words not in the article) or a chat model at judge_url.',
  ).default('overlap'),
  judge_url: text('Base URL of an OpenAI-compatible API, such as http://127.0.0.1:8000/v1.').optional(),
  judge_model: text('Name of the model in that API.').optional(),
  judge_key_env: text('Environment variable with the API key.').optional(),
  against: oneOf(
    ['reference', 'article'],
    'What the judge compares a summary with: the reference summary, or the article.',
  ).default('reference'),
  requests_per_minute: count('Maximum number of requests to the judge per minute.').optional(),
  judge_prices: z
    .strictObject({
      prompt: nonNegative('Price of prompt tokens.'),
      completion: nonNegative('Price of completion tokens.'),
    })
    .describe('Prices of a million tokens of the judge, for displaying the cost.')
    .optional(),
  prompt_template: text(
    'Prompt with {instruction}: the template with which the model was fine-tuned.',
  ).optional(),
  max_new_tokens: maxNewTokens(256),
});

type Settings = z.output<typeof settings>;
/** Names of these tasks. */
export type Name = 'xsum' | 'multi_news' | 'wikisum';

function task(name: Name, title: string): TaskEntry<Name, Settings> {
  return {
    description: `faithfulness of summaries of ${title}`,
    data: [name],
    make: async (sources) => {
      const { settings, files, seed } = sources;
      const { articles, judge, prompt_template: promptTemplate, max_new_tokens: maxNewTokens } = settings;
      return contextualHallucination({
        dataSet: name,
        rows: await readRows(files[name]),
        numArticles: articles,
        seed,
        judge: judge === 'overlap' ? overlapJudge() : withProgress(chatJudgeOf(sources), sources),
        promptTemplate,
        maxNewTokens,
      });
    },
  };
}

/** Returns a judge that reports each judgement. */
function withProgress(judge: ChatJudge, { onEvent }: Pick<TaskSources, 'onEvent'>): Judge {
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
  // API keys are read from the environment, since recipes and command lines are visible to others.
  const apiKey = judge_key_env === undefined ? undefined : process.env[judge_key_env];
  if (judge_key_env !== undefined && !apiKey) {
    throw new ConfigurationError([
      `hallucination.judge_key_env: got ${judge_key_env}, expected an environment variable that contains an API key`,
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
      refusals.add(`${path}.judge_url`, judge_url, 'the URL of an API for judge chat');
    }
    if (judge_model === undefined) {
      refusals.add(`${path}.judge_model`, judge_model, 'the name of a model for judge chat');
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
