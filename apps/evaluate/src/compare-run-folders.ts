/** Compares several finished evaluations a side. */
import { existsSync, readdirSync } from 'node:fs';
import { join, resolve, sep } from 'node:path';
import { hasResults } from '@meap/eval-recipes';
import { compareRuns } from '@meap/evals';
import { ConfigurationError, NotReadyError } from '@meap/recipe-cli';
import { readCheckedResults } from './report/read-folders.ts';
import type { FoldersComparison } from './report/report-input.ts';

/**
 * Compares the evaluations of each side: finished ones, or arms of a study, which stand for the evaluations of their seeds
 * (`ARM/seed-N/STEP`). They are paired by seed if all are in folders `seed-N`, otherwise by order.
 *
 * @throws NotReadyError for folders without a finished evaluation
 * @throws ConfigurationError for an arm with several evaluations a seed, a seed twice on one side, or no common seed
 * @throws EvalsError for runs that cannot be compared
 */
export function compareRunFolders(a: readonly string[], b: readonly string[]): FoldersComparison {
  const given = [a, b].map((folders) => folders.map(evaluationsIn));
  const sides = given.map((folders) => folders.flatMap(({ runs }) => runs));
  const waiting = given.flat().flatMap((folder) => folder.waiting);
  const unfinished = sides.flat().filter((folder) => !hasResults(folder));
  if (unfinished.length > 0) {
    throw new NotReadyError(
      unfinished.map(
        (folder) =>
          `compare: ${folder} ${existsSync(folder) ? 'has no results.json' : 'does not exist'}, expected a finished evaluation; finish it with ` +
          `meap-evaluate run --out ${folder}`,
      ),
    );
  }
  const { pairs, leftOut } = pairBySeed(sides) ?? { pairs: sides, leftOut: [] };
  const read = (folder: string) => ({ name: folder, tasks: readCheckedResults(folder) });
  const comparison = compareRuns(pairs[0].map(read), pairs[1].map(read));
  return { ...comparison, leftOut: [...leftOut, ...waiting] };
}

/** Whether a folder is an arm of a study, which has a folder for each seed. */
export function isArm(folder: string): boolean {
  return !hasResults(folder) && seedsIn(folder).length > 0;
}

function seedsIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => seedOf(name) !== undefined)
    .map((name) => join(folder, name))
    .sort((x, y) => seedOf(x)! - seedOf(y)!);
}

/** The folder itself, or of an arm the evaluation of each seed, and the seeds whose evaluation has not finished. */
function evaluationsIn(folder: string): { runs: string[]; waiting: string[] } {
  if (!isArm(folder)) return { runs: [folder], waiting: [] };
  const seeds = seedsIn(folder).map((seed) => {
    const runs = [seed, ...readdirSync(seed).map((step) => join(seed, step))].filter(hasResults);
    if (runs.length < 2) return { seed, runs };
    throw new ConfigurationError([
      `compare: ${seed} has ${runs.length} evaluations (${runs.join(', ')}), expected one; choose a step: ` +
        `${join(folder, 'seed-*', 'STEP')} --with ${join('OTHER', 'seed-*', 'STEP')}`,
    ]);
  });
  return {
    runs: seeds.flatMap(({ runs }) => runs),
    waiting: seeds.flatMap(({ seed, runs }) => (runs.length === 0 ? seed : [])),
  };
}

/** The seed of a run of a study, by the last part `seed-N` of its path. */
function seedOf(folder: string): number | undefined {
  const part = resolve(folder)
    .split(sep)
    .findLast((name) => /^seed-\d+$/.test(name));
  return part === undefined ? undefined : Number(part.slice('seed-'.length));
}

/** Pairs folders that have a seed each; undefined if one has none. */
function pairBySeed(
  sides: readonly (readonly string[])[],
): { pairs: readonly (readonly string[])[]; leftOut: string[] } | undefined {
  if (sides.flat().some((folder) => seedOf(folder) === undefined)) return undefined;
  const [a, b] = sides.map((side) => {
    const bySeed = new Map(side.map((folder) => [seedOf(folder)!, folder]));
    if (bySeed.size === side.length) return bySeed;
    const again = side.find((folder, i) => side.findIndex((other) => seedOf(other) === seedOf(folder)) < i)!;
    throw new ConfigurationError([
      `compare: got seed ${seedOf(again)} twice on one side, the second time as ${again}; expected each seed once`,
    ]);
  });
  const common = [...a.keys()].filter((seed) => b.has(seed));
  if (common.length === 0) {
    const seeds = [a, b].map((side) => [...side.keys()].join(', ') || 'none');
    throw new ConfigurationError([
      `compare: got finished evaluations of the seeds ${seeds.join(' and ')}, expected seeds that both sides have`,
    ]);
  }
  return {
    pairs: [a, b].map((side) => common.map((seed) => side.get(seed)!)),
    leftOut: [a, b].flatMap((side) =>
      [...side].flatMap(([seed, folder]) => (common.includes(seed) ? [] : folder)),
    ),
  };
}
