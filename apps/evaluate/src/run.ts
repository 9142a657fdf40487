/** One evaluation from its configuration: data, model, tasks one after the other, result files. */
import { type EvaluateProgress, evaluate, type Task, type TaskResult, toHarnessJson } from '@meap/evals';
import { type OpenLanguageModel, openLanguageModel } from '@meap/inference';
import { openRunDirectory, packageVersion } from '@meap/recipe-cli';
import type { BackendDescription } from '@meap/tensor-kernels';
import { acquireLock } from '@meap/trainer';
import type { EvaluateConfig } from './config.ts';
import { findData } from './find-data.ts';
import { writeResults } from './result-files.ts';
import { AnswerStores } from './sqlite-answer-store.ts';
import { TASKS } from './tasks/catalogue.ts';
import type { JudgeEvent, TaskSources } from './tasks/task-family.ts';

/** What {@link runEvaluation} tells its caller while it runs. */
export type EvaluateEvent =
  | ({ type: 'backend' } & BackendDescription)
  | { type: 'model'; name: string; contextLength: number; fingerprint: string }
  | { type: 'task'; task: string }
  | ({ type: 'progress'; task: string } & EvaluateProgress)
  | JudgeEvent
  | { type: 'result'; result: TaskResult }
  | { type: 'warning'; message: string };

/** Where an evaluation's results go, and who hears of it. */
export interface RunEvaluationOptions {
  /** Folder for result files; none are written without. */
  readonly out?: string;
  /** Folder in which answers are kept from run to run; none are without. */
  readonly cache?: string;
  /** Whether each row is written with what was asked and answered. */
  readonly logSamples?: boolean;
  /** When aborted, the run ends with the signal's reason; what was answered is kept in the cache. */
  readonly signal?: AbortSignal;
  /** Called at once for everything that happens; it must not throw. */
  readonly onEvent?: (event: EvaluateEvent) => void;
}

/** What an evaluation found. */
export interface EvaluationResults {
  readonly tasks: readonly TaskResult[];
  /** The same in the shape of lm-evaluation-harness. */
  readonly harness: Readonly<Record<string, unknown>>;
}

/**
 * Evaluates a model on tasks.
 *
 * The results depend on model, data and configuration alone: the same run gives the same bytes.
 *
 * @throws typed errors with one-line messages, of this package and of those it composes; `isUserError` tells them
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
    opened = await openLanguageModel({ model, backend: config.backend, precision: config.precision });
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
    await stores?.close();
    lock?.release();
    opened?.dispose();
  }
}

/** Reads the data of all tasks, before any time is spent on a model. */
export async function makeTasks(
  config: EvaluateConfig,
  more: Pick<TaskSources, 'judgements' | 'signal' | 'onEvent'> = {},
): Promise<Task[]> {
  const entries = config.tasks.map((name) => TASKS.get(name)!);
  const files = await findData(
    entries.flatMap(({ data }) => data),
    config,
  );
  const { bos, seed } = config;
  const sections: Readonly<Record<string, unknown>> = { ...config };
  const tasks: Task[] = [];
  for (const { family, make } of entries) {
    tasks.push(...[await make({ files, settings: sections[family], bos, seed, ...more })].flat());
  }
  return tasks;
}

function harnessOf(
  results: readonly TaskResult[],
  { backend, precision }: OpenLanguageModel,
  { limit, samples, bos, seed }: EvaluateConfig,
): Record<string, unknown> {
  const harness = toHarnessJson(results, { meap_version: packageVersion(import.meta.url) });
  const settings = {
    limit: limit ?? null,
    samples: samples ?? null,
    bos: bos ?? null,
    seed: seed ?? null,
  };
  return {
    ...harness,
    config: { ...(harness.config as object), dtype: precision, backend: backend.name, ...settings },
  };
}
