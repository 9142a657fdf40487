import { chatJudge, contextualHallucination, type Judge, overlapJudge, type Task } from '@meap/evals';
import { ConfigurationError } from '@meap/recipe-cli';
import type { EvaluateConfig } from './config.ts';
import type { TaskSources } from './task-catalog.ts';

/** Articles of a data set to summarise, and who judges the summaries. */
export function hallucinationTask(
  dataSet: string,
  rows: readonly unknown[],
  { config, judgements, signal }: Pick<TaskSources, 'config' | 'judgements' | 'signal'>,
): Task {
  const { judge, prompt_template: promptTemplate, max_new_tokens: maxNewTokens } = config.hallucination;
  return contextualHallucination({
    dataSet,
    rows,
    judge: judge === 'overlap' ? overlapJudge() : judgeOf(config.hallucination, { judgements, signal }),
    promptTemplate,
    maxNewTokens,
  });
}

function judgeOf(
  { judge_url, judge_model, judge_key_env, against, requests_per_minute }: EvaluateConfig['hallucination'],
  { judgements, signal }: Pick<TaskSources, 'judgements' | 'signal'>,
): Judge {
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
    store: judgements,
    signal,
  });
}
