/** Writes and reads the result files of an evaluation. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type DataFiles, RESULTS_FILE, sampleLines } from '@meap/eval-recipes';
import type { TaskResult } from '@meap/evals';
import { makeDirectory, writeFileAtomic } from '@meap/files';
import { cachedAddress } from '@meap/hub';
import { packageVersion, RunError, reasonOf } from '@meap/recipe-cli';
import type { BackendDescription } from '@meap/tensor-kernels';
import { writeEnvironment } from '@meap/trainer';

/** Written by the command `compare`: an array of comparisons by row, or one comparison over runs. */
export const COMPARISON_FILE = 'comparison.json';

/** The results of an evaluation. */
export interface EvaluationResults {
  readonly tasks: readonly TaskResult[];
  /** The results in the format of lm-evaluation-harness. */
  readonly harness: Readonly<Record<string, unknown>>;
}

/**
 * Writes `results.json` in the format of lm-evaluation-harness, `tasks/TASK.json` with the measurements of every row, and
 * `environment.json` with the model's folder and the files of each data set; with `logSamples` also `samples_TASK.jsonl` in the format of the harness.
 */
export function writeResults(
  out: string,
  { tasks, harness }: EvaluationResults,
  {
    model,
    data,
    backend,
    logSamples,
  }: { model: string; data: DataFiles; backend?: BackendDescription; logSamples: boolean },
): void {
  makeDirectory(join(out, 'tasks'));
  for (const result of tasks) {
    const samples = result.samples.map((sample) => ({ ...sample, shown: {}, answers: [], log: undefined }));
    writeJson(join(out, 'tasks', `${result.task}.json`), { ...result, samples });
    if (!logSamples) continue;
    const lines = sampleLines(result).map((line) => `${JSON.stringify(line)}\n`);
    writeFileAtomic(join(out, `samples_${result.task}.jsonl`), lines.join(''));
  }
  writeEnvironment(out, {
    meap: packageVersion(import.meta.url),
    model,
    // Files of the Hub with their commit.
    data: Object.fromEntries(
      Object.entries(data).map(([name, files]) => [name, files.map((file) => cachedAddress(file) ?? file)]),
    ),
    ...(backend && { backend: { ...backend } }),
  });
  writeJson(join(out, RESULTS_FILE), harness);
}

/**
 * Reads the files of {@link writeResults}; samples have no requests and answers.
 *
 * @throws RunError for missing or damaged files
 */
export function readResults(directory: string): TaskResult[] {
  const { results, groups = {} } = readJson(join(directory, RESULTS_FILE)) as Record<
    'results' | 'groups',
    object
  >;
  const tasks = Object.keys(results).filter((name) => !Object.hasOwn(groups, name));
  return tasks.map((task) => readJson(join(directory, 'tasks', `${task}.json`)) as TaskResult);
}

export function writeJson(path: string, value: unknown): void {
  writeFileAtomic(path, `${JSON.stringify(value, null, 2)}\n`);
}

/** Reads a JSON file; throws a RunError if it is missing or damaged. */
export function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new RunError(
      `${path}: cannot be read: ${reasonOf(error)}; expected a file of meap-evaluate, run it again`,
    );
  }
}
