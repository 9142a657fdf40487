/** One evaluation from its configuration: data, model, tasks one after the other, result files. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type EvaluateProgress, evaluate, type Task, type TaskResult, toHarnessJson } from '@meap/evals';
import { openRunDirectory, packageVersion } from '@meap/recipe-cli';
import type { BackendDescription } from '@meap/tensor-kernels';
import { writeEnvironment } from '@meap/trainer';
import type { EvaluateConfig } from './config.ts';
import { type DataFiles, findData } from './find-data.ts';
import { type OpenLanguageModel, openLanguageModel } from './llama-language-model.ts';
import { openAnswerStore } from './sqlite-answer-store.ts';
import { TASKS } from './task-catalog.ts';

/** What {@link runEvaluation} tells its caller while it runs. */
export type EvaluateEvent =
  | ({ type: 'backend' } & BackendDescription)
  | { type: 'model'; name: string; contextLength: number; fingerprint: string }
  | ({ type: 'progress'; task: string } & EvaluateProgress)
  | { type: 'result'; result: TaskResult };

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
  if (out !== undefined) openRunDirectory(out, 'auto');
  const tasks = await makeTasks(config);
  const { path: model } = config.model;
  const opened = await openLanguageModel({ model, backend: config.backend, precision: config.precision });
  try {
    const { name, contextLength, fingerprint, backend } = opened;
    onEvent({ type: 'backend', ...backend });
    onEvent({ type: 'model', name, contextLength, fingerprint });
    const results = await evaluateAll(tasks, opened, config, { cache, signal, onEvent });
    const evaluation = { tasks: results, harness: harnessOf(results, opened, config) };
    if (out !== undefined) writeResults(out, evaluation, { backend, logSamples });
    return evaluation;
  } finally {
    opened.dispose();
  }
}

/** Reads the data of all tasks, before any time is spent on a model. */
export async function makeTasks(config: EvaluateConfig): Promise<Task[]> {
  const entries = config.tasks.map((name) => TASKS[name]);
  const files = await findData(
    entries.flatMap(({ data }) => data),
    config,
  );
  const tasks: Task[] = [];
  for (const entry of entries) tasks.push(await entry.make(files as Required<DataFiles>, config));
  return tasks;
}

async function evaluateAll(
  tasks: readonly Task[],
  model: OpenLanguageModel,
  { limit, samples }: EvaluateConfig,
  { cache, signal, onEvent }: Required<Pick<RunEvaluationOptions, 'onEvent'>> & RunEvaluationOptions,
): Promise<TaskResult[]> {
  const store = cache === undefined ? undefined : openAnswerStore(cache, model.fingerprint);
  try {
    const results: TaskResult[] = [];
    for (const task of tasks) {
      const onProgress = (progress: EvaluateProgress) =>
        onEvent({ type: 'progress', task: task.name, ...progress });
      const result = await evaluate(task, model, { store, limit, samples, signal, onProgress });
      onEvent({ type: 'result', result });
      results.push(result);
    }
    return results;
  } finally {
    store?.close();
  }
}

function harnessOf(
  results: readonly TaskResult[],
  { backend, precision }: OpenLanguageModel,
  { limit, samples, bos, seed }: EvaluateConfig,
): Record<string, unknown> {
  const harness = toHarnessJson(results, { meap_version: packageVersion(import.meta.url) });
  const settings = { limit: limit ?? null, samples: samples ?? null, bos, seed };
  return {
    ...harness,
    config: { ...(harness.config as object), dtype: precision, backend: backend.name, ...settings },
  };
}

function writeResults(
  out: string,
  { tasks, harness }: EvaluationResults,
  { backend, logSamples }: { backend: BackendDescription; logSamples: boolean },
): void {
  mkdirSync(join(out, 'tasks'), { recursive: true });
  for (const result of tasks) {
    const samples = result.samples.map(({ shown: _, answers: __, ...numbers }) => numbers);
    write(join(out, 'tasks', `${result.task}.json`), toJson({ ...result, samples }));
    if (!logSamples) continue;
    const lines = result.samples.map((sample) => `${JSON.stringify(sample)}\n`);
    write(join(out, `samples_${result.task}.jsonl`), lines.join(''));
  }
  writeEnvironment(out, { meap: packageVersion(import.meta.url), backend: { ...backend } });
  // Last: a folder with this file is a finished evaluation.
  write(join(out, 'results.json'), toJson(harness));
}

function write(path: string, content: string): void {
  writeFileSync(`${path}.partial`, content);
  renameSync(`${path}.partial`, path);
}

function toJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
