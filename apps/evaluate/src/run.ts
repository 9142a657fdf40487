/** Runs an evaluation: loads data and model, evaluates the tasks, writes the result files. */

import { makeTasks } from '@meap/eval-recipes';
import { type EvaluateProgress, evaluate, type TaskResult, toHarnessJson } from '@meap/evals';
import { type OpenLanguageModel, openLanguageModel } from '@meap/inference';
import { openRunDirectory, packageVersion } from '@meap/recipe-cli';
import { acquireLock } from '@meap/trainer';
import type { EvaluateConfig } from './config.ts';
import type { EvaluateEvent } from './events.ts';
import { type EvaluationResults, writeResults } from './result-files.ts';
import { AnswerStores } from './sqlite-answer-store.ts';

/** Options of {@link runEvaluation}. */
export interface RunEvaluationOptions {
  /** Folder for result files; by default none are written. */
  readonly out?: string;
  /** Folder in which answers are cached; by default they are not. */
  readonly cache?: string;
  /** Whether to write the requests and answers of each row. */
  readonly logSamples?: boolean;
  /** Aborts the run with the signal's reason; completed answers stay in the cache. */
  readonly signal?: AbortSignal;
  /** Called synchronously for each event; must not throw. */
  readonly onEvent?: (event: EvaluateEvent) => void;
}

/**
 * Evaluates a model on tasks. The results depend only on model, data and configuration.
 *
 * @throws errors for which `isUserError` holds, with one-line messages
 */
export async function runEvaluation(
  config: EvaluateConfig,
  { out, cache, logSamples = false, signal, onEvent = () => {} }: RunEvaluationOptions = {},
): Promise<EvaluationResults> {
  const onWarning = (message: string) => onEvent({ type: 'warning', message });
  if (out !== undefined) openRunDirectory(out, 'auto');
  const lock = out === undefined ? undefined : await acquireLock(out, { onWait: onWarning, signal });
  const stores = cache === undefined ? undefined : new AnswerStores(cache, { signal, onWarning });
  let opened: OpenLanguageModel | undefined;
  try {
    const tasks = await makeTasks(config, { judgements: stores?.of('judge'), signal, onEvent });
    const { path: model } = config.model;
    const { backend: wanted, precision, apply_chat_template: chatTemplate } = config;
    opened = await openLanguageModel({
      model,
      backend: wanted,
      precision,
      ...(chatTemplate && { chatTemplate }),
    });
    const { name, contextLength, fingerprint, backend } = opened;
    onEvent({ type: 'backend', ...backend });
    onEvent({ type: 'model', name, contextLength, fingerprint });
    const results: TaskResult[] = [];
    for (const task of tasks) {
      onEvent({ type: 'task', task: task.name });
      const { limit, samples } = config;
      const onProgress = (progress: EvaluateProgress) =>
        onEvent({ type: 'progress', task: task.name, ...progress });
      const store = stores?.of(fingerprint);
      const result = await evaluate(task, opened, { store, limit, samples, signal, onProgress });
      onEvent({ type: 'result', result });
      results.push(result);
    }
    const evaluation = { tasks: results, harness: harnessOf(results, opened, config) };
    if (out !== undefined) writeResults(out, evaluation, { model, backend, logSamples });
    return evaluation;
  } finally {
    lock?.release();
    opened?.dispose();
  }
}

function harnessOf(
  results: readonly TaskResult[],
  { backend, precision }: OpenLanguageModel,
  { limit, samples, bos, seed, ...config }: EvaluateConfig,
): Record<string, unknown> {
  const harness = toHarnessJson(results, { meap_version: packageVersion(import.meta.url) });
  const settings = {
    limit: limit ?? null,
    samples: samples ?? null,
    bos: bos ?? null,
    seed: seed ?? null,
    apply_chat_template: config.apply_chat_template ?? false,
  };
  return {
    ...harness,
    config: { ...(harness.config as object), dtype: precision, backend: backend.name, ...settings },
  };
}
