/** Result files of an evaluation: written as one, read back for comparisons and reports. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TaskResult } from '@meap/evals';
import { makeDirectory, writeFileAtomic } from '@meap/files';
import { packageVersion, RunError, reasonOf } from '@meap/recipe-cli';
import type { BackendDescription } from '@meap/tensor-kernels';
import { writeEnvironment } from '@meap/trainer';
import type { EvaluationResults } from './run.ts';

/** Written last: a folder that has it holds a finished evaluation. */
const RESULTS = 'results.json';

/**
 * Writes `results.json` in the shape of lm-evaluation-harness, `tasks/TASK.json` with the numbers of every row, and
 * `environment.json` with the model's folder; with `logSamples` also `samples_TASK.jsonl` with what was asked and answered.
 */
export function writeResults(
  out: string,
  { tasks, harness }: EvaluationResults,
  { model, backend, logSamples }: { model: string; backend: BackendDescription; logSamples: boolean },
): void {
  makeDirectory(join(out, 'tasks'));
  for (const result of tasks) {
    const samples = result.samples.map((sample) => ({ ...sample, shown: {}, answers: [] }));
    writeJson(join(out, 'tasks', `${result.task}.json`), { ...result, samples });
    if (!logSamples) continue;
    const lines = result.samples.map((sample) => `${JSON.stringify(sample)}\n`);
    writeFileAtomic(join(out, `samples_${result.task}.jsonl`), lines.join(''));
  }
  writeEnvironment(out, { meap: packageVersion(import.meta.url), model, backend: { ...backend } });
  writeJson(join(out, RESULTS), harness);
}

/** Whether a folder holds a finished evaluation. */
export function hasResults(directory: string): boolean {
  return existsSync(join(directory, RESULTS));
}

/**
 * Reads what {@link writeResults} wrote; samples have their numbers only.
 *
 * @throws RunError for files that are missing or damaged
 */
export function readResults(directory: string): TaskResult[] {
  const { results } = readJson(join(directory, RESULTS)) as { results: Record<string, unknown> };
  return Object.keys(results).map((task) => readJson(join(directory, 'tasks', `${task}.json`)) as TaskResult);
}

/** Writes a value as JSON, whole or not at all. */
export function writeJson(path: string, value: unknown): void {
  writeFileAtomic(path, `${JSON.stringify(value, null, 2)}\n`);
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new RunError(
      `${path}: cannot be read: ${reasonOf(error)}; expected what meap-evaluate run writes, run it again`,
    );
  }
}
