/** Runs an evaluation: loads data and model, evaluates the tasks, writes the result files. */

import { type DataFiles, makeTasks } from '@meap/eval-recipes';
import { type EvaluateProgress, evaluate, type Task, type TaskResult, toHarnessJson } from '@meap/evals';
import {
  type OpenLanguageModel,
  openLanguageModel,
  openRemoteChatModel,
  openRemoteModel,
  type RemoteChatModel,
  type RemoteModel,
} from '@meap/inference';
import { ConfigurationError, openRunDirectory, packageVersion } from '@meap/recipe-cli';
import { acquireLock } from '@meap/trainer';
import { type EvaluateConfig, isChat, type ModelChoice } from './config.ts';
import type { DownloadOptions, EvaluateEvent } from './events.ts';
import { type EvaluationResults, writeResults } from './result-files.ts';
import { AnswerStores } from './sqlite-answer-store.ts';

/** Options of {@link runEvaluation}. */
export interface RunEvaluationOptions extends DownloadOptions {
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
  { out, cache, logSamples = false, signal, onDownload, onEvent = () => {} }: RunEvaluationOptions = {},
): Promise<EvaluationResults> {
  const onWarning = (message: string) => onEvent({ type: 'warning', message });
  if (out !== undefined) openRunDirectory(out, 'auto');
  const lock = out === undefined ? undefined : await acquireLock(out, { onWait: onWarning, signal });
  const stores = cache === undefined ? undefined : new AnswerStores(cache, { signal, onWarning });
  let opened: OpenedModel | undefined;
  try {
    const data: DataFiles = {};
    const onFiles = (name: string, files: readonly string[]) => {
      data[name] = files;
    };
    const judgements = stores?.of('judge');
    const tasks = await makeTasks(config, { judgements, signal, onDownload, onFiles, onEvent });
    requireAnswerable(tasks, config);
    opened = await openModel(config);
    const { name, contextLength, fingerprint } = opened;
    const backend = 'backend' in opened ? opened.backend : undefined;
    if (backend) onEvent({ type: 'backend', ...backend });
    onEvent({ type: 'model', name, contextLength, fingerprint });
    const results: TaskResult[] = [];
    for (const task of tasks) {
      onEvent({ type: 'task', task: task.name });
      const { limit, samples } = config;
      const onProgress = (progress: EvaluateProgress) =>
        onEvent({ type: 'progress', task: task.name, ...progress });
      const store = stores?.of(fingerprint);
      const result = await evaluate(task, opened, { store, limit, samples, signal, onProgress, logSamples });
      onEvent({ type: 'result', result });
      results.push(result);
    }
    const evaluation = { tasks: results, harness: harnessOf(results, opened, config) };
    if (out !== undefined)
      writeResults(out, evaluation, { model: placeOf(config.model), data, backend, logSamples });
    return evaluation;
  } finally {
    lock?.release();
    opened?.dispose();
  }
}

type OpenedModel = OpenLanguageModel | RemoteModel | RemoteChatModel;

/** Opens the model of a configuration. @throws ModelError */
export async function openModel({
  model,
  backend,
  precision,
  apply_chat_template: template,
}: EvaluateConfig): Promise<OpenedModel> {
  const chat = template && { chatTemplate: template };
  if ('path' in model) {
    const { path, quantize } = model;
    return openLanguageModel({ model: path, quantize, backend, precision, ...chat });
  }
  const apiKey = process.env.OPENAI_API_KEY || undefined;
  const at = { endpoint: model.endpoint, model: model.endpoint_model, apiKey };
  if (model.endpoint_api === 'chat') return openRemoteChatModel(at);
  const { tokenizer, context_length: contextLength } = model;
  return openRemoteModel({ ...at, tokenizer, contextLength, ...chat });
}

/** Where a model is: a folder, or a name at an address. */
export function placeOf(model: ModelChoice): string {
  // A query may contain a key.
  return 'path' in model ? model.path : `${model.endpoint_model} at ${model.endpoint.split('?')[0]}`;
}

/** Refuses tasks that a chat server cannot answer. */
export function requireAnswerable(tasks: readonly Task[], { model }: EvaluateConfig): void {
  if (!isChat(model)) return;
  const others = tasks.filter(({ config }) => config.output_type !== 'generate_until');
  if (others.length === 0) return;
  throw new ConfigurationError([
    `tasks: got ${others.map(({ name }) => name).join(', ')}, which need log-probabilities or tokens, expected tasks of ` +
      'lm-evaluation-harness with generated answers, such as gsm8k, since a chat server only returns text; evaluate the ' +
      'others with --endpoint-api completions, on a server that has it',
  ]);
}

function harnessOf(
  results: readonly TaskResult[],
  opened: OpenedModel,
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
  const quantize = 'path' in config.model && config.model.quantize;
  const local = 'backend' in opened && {
    dtype: opened.precision,
    backend: opened.backend.name,
    ...(quantize && { model_quantize: quantize }),
  };
  return {
    ...harness,
    config: { ...(harness.config as object), ...local, ...settings },
  };
}
