/** What a report needs, from the folders that the other commands write. */
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { RunError, type RunMetrics, readMetrics, reasonOf } from '@meap/recipe-cli';
import type { z } from 'zod';
import { hasResults, readResults } from '../result-files.ts';
import type { EvaluatedModel, ReportInput } from './report-input.ts';
import { attentionSchema, environmentSchema, taskResultSchema } from './result-schema.ts';

/**
 * Reads evaluations, comparisons and attention of models.
 *
 * Folders of one model with different tasks are taken together; a folder of a comparison stands for the two evaluations
 * in it.
 *
 * @throws RunError for a folder without results, or with damaged ones
 */
export function readFolders(folders: readonly string[]): ReportInput {
  const attention = folders.flatMap((folder) => {
    const path = join(folder, 'attention.json');
    return existsSync(path) ? [readJson(path, attentionSchema)] : [];
  });
  const evaluations = folders.flatMap(evaluationsIn).map(readEvaluation);
  return {
    models: withDifferentNames(mergeByModel(evaluations)),
    contrasts: attention.flatMap(({ contrasts }) => contrasts),
    shares: attention.flatMap(({ shares }) => shares),
  };
}

/**
 * Losses of the run that a model lies in: its own folder's, or of one of the two above, as `RUN/checkpoints/STEP` has
 * it.
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
      `${join(run, 'metrics.jsonl')}: cannot be read: ${reasonOf(error)}; expected one JSON object a line`,
    );
  }
}

type Evaluation = EvaluatedModel & { readonly folder: string };

function evaluationsIn(folder: string): string[] {
  const found = [folder, join(folder, 'a'), join(folder, 'b')].filter(hasResults);
  if (found.length > 0) return found;
  if (existsSync(join(folder, 'attention.json'))) return [];
  throw new RunError(
    `report: ${folder} has no results, expected a folder that meap-evaluate run, compare or attention wrote`,
  );
}

function readEvaluation(folder: string): Evaluation {
  const results = readResults(folder).map((result) => check(result, taskResultSchema, `${folder}, tasks`));
  if (results.length === 0) throw new RunError(`report: ${folder} has no tasks, expected at least one`);
  const environment = join(folder, 'environment.json');
  const model = existsSync(environment) ? readJson(environment, environmentSchema).model : undefined;
  const { name, fingerprint } = results[0].model;
  return {
    folder,
    name,
    fingerprint,
    results,
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
    else models[same] = { ...models[same], results: [...models[same].results, ...evaluation.results] };
  }
  return models;
}

/** Models that are called alike are told apart by their folders. */
function withDifferentNames(models: readonly Evaluation[]): EvaluatedModel[] {
  return models.map(({ folder, ...model }, index) => {
    const alike = models.filter(({ name }) => name === model.name);
    if (alike.length === 1) return model;
    const byFolder = new Set(alike.map(({ folder }) => basename(resolve(folder)))).size === alike.length;
    const byPath = new Set(alike.map(({ folder }) => resolve(folder))).size === alike.length;
    const mark = byFolder ? basename(resolve(folder)) : byPath ? folder : String(index + 1);
    return { ...model, name: `${model.name} (${mark})` };
  });
}

function readJson<Schema extends z.ZodType>(path: string, schema: Schema): z.output<Schema> {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new RunError(`${path}: cannot be read: ${reasonOf(error)}; expected what meap-evaluate writes`);
  }
  return check(value, schema, path);
}

function check<Schema extends z.ZodType>(value: unknown, schema: Schema, where: string): z.output<Schema> {
  const found = schema.safeParse(value);
  if (found.success) return found.data;
  const [{ path, message }] = found.error.issues;
  throw new RunError(
    `${where}: ${path.join('.') || 'value'}: ${message}; expected what meap-evaluate writes`,
  );
}
