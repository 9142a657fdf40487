/** Compares several finished evaluations a side. */
import { existsSync } from 'node:fs';
import { hasResults } from '@meap/eval-recipes';
import { compareRuns, type RunsComparison } from '@meap/evals';
import { NotReadyError } from '@meap/recipe-cli';
import { readCheckedResults } from './report/read-folders.ts';

/**
 * Compares the evaluations in the folders of each side, paired by order.
 *
 * @throws NotReadyError for folders without a finished evaluation
 * @throws EvalsError for runs that cannot be compared
 */
export function compareRunFolders(a: readonly string[], b: readonly string[]): RunsComparison {
  const unfinished = [...a, ...b].filter((folder) => !hasResults(folder));
  if (unfinished.length > 0) {
    throw new NotReadyError(
      unfinished.map(
        (folder) =>
          `compare: ${folder} ${existsSync(folder) ? 'has no results.json' : 'does not exist'}, expected a finished evaluation; finish it with ` +
          `meap-evaluate run --out ${folder}`,
      ),
    );
  }
  const read = (folder: string) => ({ name: folder, tasks: readCheckedResults(folder) });
  return compareRuns(a.map(read), b.map(read));
}
