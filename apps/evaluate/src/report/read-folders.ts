/** Reads the input of a report from the folders of the other commands. */
import { existsSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { hasResults } from '@meap/eval-recipes';
import type { TaskResult } from '@meap/evals';
import { RunError, type RunMetrics, readMetrics, reasonOf } from '@meap/recipe-cli';
import type { z } from 'zod';
import { COMPARISON_FILE, readJson, readResults } from '../result-files.ts';
import type { EvaluatedModel, FoldersComparison, ReportInput } from './report-input.ts';
import {
  attentionSchema,
  environmentSchema,
  runsComparisonSchema,
  taskResultSchema,
} from './result-schema.ts';

/**
 * Reads evaluations, comparisons and attention.
 *
 * Folders of the same model with different tasks are merged; a comparison yields its two evaluations, one over runs only
 * itself.
 *
 * @throws RunError for a folder without results or with damaged files
 */
export function readFolders(folders: readonly string[]): ReportInput {
  const attention = folders.flatMap((folder) => {
    const path = join(folder, 'attention.json');
    return existsSync(path) ? [check(readJson(path), attentionSchema, path)] : [];
  });
  const evaluations = folders.flatMap(evaluationsIn).map(readEvaluation);
  return {
    models: withUniqueNames(mergeByModel(evaluations)),
    contrasts: attention.flatMap(({ contrasts }) => contrasts),
    shares: attention.flatMap(({ shares }) => shares),
    overRuns: folders.flatMap((folder) => readRunsComparison(folder) ?? []),
  };
}

/**
 * Reads the metrics of the run that contains a model: in the model's folder or one of the two above, as in
 * `RUN/checkpoints/STEP`.
 *
 * @throws RunError for damaged metrics
 */
export function trainingOf(modelDirectory: string): RunMetrics | undefined {
  const directory = resolve(modelDirectory);
  const above = [directory, dirname(directory), dirname(dirname(directory))];
  const run = above.find((folder) => existsSync(join(folder, 'metrics.jsonl')));
  if (run === undefined) return undefined;
  try {
    return readMetrics(run);
  } catch (error) {
    throw new RunError(
      `${join(run, 'metrics.jsonl')}: cannot be read: ${reasonOf(error)}; expected one JSON object per line`,
    );
  }
}

type Evaluation = EvaluatedModel & { readonly folder: string };

function evaluationsIn(folder: string): string[] {
  const isOverRuns = readRunsComparison(folder) !== undefined;
  // A comparison over runs has no evaluations of its own, unlike one by row.
  const found = [folder, ...(isOverRuns ? [] : [join(folder, 'a'), join(folder, 'b')])].filter(hasResults);
  if (found.length > 0) return found;
  if (isOverRuns || existsSync(join(folder, 'attention.json'))) return [];
  const problem = existsSync(folder) ? 'has no results' : 'does not exist';
  throw new RunError(
    `report: ${folder} ${problem}, expected a folder of meap-evaluate run, compare or attention`,
  );
}

function readRunsComparison(folder: string): FoldersComparison | undefined {
  const path = join(folder, COMPARISON_FILE);
  const comparison = existsSync(path) ? readJson(path) : [];
  return Array.isArray(comparison) ? undefined : check(comparison, runsComparisonSchema, path);
}

/**
 * Reads and checks the results of a finished evaluation.
 *
 * @throws RunError for missing or damaged files
 */
export function readCheckedResults(folder: string): TaskResult[] {
  return readResults(folder).map((result) => check(result, taskResultSchema, `${folder}, tasks`));
}

function readEvaluation(folder: string): Evaluation {
  const results = readCheckedResults(folder);
  if (results.length === 0) throw new RunError(`report: ${folder} has no tasks, expected at least one`);
  const environment = join(folder, 'environment.json');
  const model = existsSync(environment)
    ? check(readJson(environment), environmentSchema, environment).model
    : undefined;
  const { name, fingerprint } = results[0].model;
  const logs = results.flatMap(({ task }) => {
    const path = join(folder, `samples_${task}.jsonl`);
    return existsSync(path) ? [[task, path] as const] : [];
  });
  return {
    folder,
    name,
    fingerprint,
    results,
    logs: Object.fromEntries(logs),
    training: model === undefined ? undefined : trainingOf(model),
  };
}

function mergeByModel(evaluations: readonly Evaluation[]): Evaluation[] {
  const models: Evaluation[] = [];
  for (const evaluation of evaluations) {
    const tasks = new Set(evaluation.results.map(({ task }) => task));
    const same = models.findIndex(
      ({ fingerprint, results }) =>
        fingerprint === evaluation.fingerprint && !results.some(({ task }) => tasks.has(task)),
    );
    if (same < 0) models.push(evaluation);
    else {
      const { results, logs } = models[same];
      models[same] = {
        ...models[same],
        results: [...results, ...evaluation.results],
        logs: { ...logs, ...evaluation.logs },
      };
    }
  }
  return models;
}

/** Adds the folder to names that are not unique. */
function withUniqueNames(models: readonly Evaluation[]): EvaluatedModel[] {
  return models.map(({ folder, ...model }, index) => {
    const alike = models.filter(({ name }) => name === model.name);
    if (alike.length === 1) return model;
    const byFolder = new Set(alike.map(({ folder }) => basename(resolve(folder)))).size === alike.length;
    const byPath = new Set(alike.map(({ folder }) => resolve(folder))).size === alike.length;
    const mark = byFolder ? basename(resolve(folder)) : byPath ? folder : String(index + 1);
    return { ...model, name: `${model.name} (${mark})` };
  });
}

function check<Schema extends z.ZodType>(value: unknown, schema: Schema, where: string): z.output<Schema> {
  const found = schema.safeParse(value);
  if (found.success) return found.data;
  const [{ path, message }] = found.error.issues;
  throw new RunError(
    `${where}: ${path.join('.') || 'value'}: ${message}; expected a file of meap-evaluate, run it again`,
  );
}
