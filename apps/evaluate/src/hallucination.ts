import {
  type ChatJudge,
  chatJudge,
  contextualHallucination,
  type Judge,
  overlapJudge,
  type Task,
} from '@meap/evals';
import { ConfigurationError } from '@meap/recipe-cli';
import type { EvaluateConfig } from './config.ts';
import type { TaskSources } from './task-catalog.ts';

type JudgeSources = Pick<TaskSources, 'judgements' | 'signal' | 'onEvent'>;

/** Articles of a data set to summarise, and who judges the summaries. */
export function hallucinationTask(
  dataSet: string,
  rows: readonly unknown[],
  { config, ...sources }: Pick<TaskSources, 'config'> & JudgeSources,
): Task {
  const {
    articles,
    judge,
    prompt_template: promptTemplate,
    max_new_tokens: maxNewTokens,
  } = config.hallucination;
  return contextualHallucination({
    dataSet,
    rows,
    numArticles: articles,
    seed: config.seed,
    judge: judge === 'overlap' ? overlapJudge() : heardJudge(judgeOf(config.hallucination, sources), sources),
    promptTemplate,
    maxNewTokens,
  });
}

/** A judge whose judgements are told as they come: a hundred take minutes. */
function heardJudge(judge: ChatJudge, { onEvent }: JudgeSources): Judge {
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

function judgeOf(
  {
    judge_url,
    judge_model,
    judge_key_env,
    judge_prices,
    against,
    requests_per_minute,
  }: EvaluateConfig['hallucination'],
  { judgements, signal }: JudgeSources,
): ChatJudge {
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
