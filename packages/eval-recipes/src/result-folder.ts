/** The files that mark the results of an evaluation. */
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** Written last, so that it marks a finished evaluation. */
export const RESULTS_FILE = 'results.json';

/** Whether a folder contains a finished evaluation. */
export function hasResults(directory: string): boolean {
  return existsSync(join(directory, RESULTS_FILE));
}

/** Whether a file belongs to the results of one task: `tasks/TASK.json` or `samples_TASK.jsonl`. */
export function isResultFile(path: string): boolean {
  const folder = dirname(path);
  const isSamples = /^samples_.*\.jsonl$/.test(basename(path)) && hasResults(folder);
  return isSamples || (basename(folder) === 'tasks' && hasResults(dirname(folder)));
}
