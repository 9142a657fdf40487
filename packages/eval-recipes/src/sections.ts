/** The sections of a recipe that describe tasks and their data. */
import { type Refusals, text } from '@meap/recipe-cli';
import { closestMatch } from 'leven';
import { z } from 'zod';
import { TASK_FILE } from './task-files/task-entries.ts';
import { DATA_SETS, type FamilySettings, families, TASKS } from './tasks/catalogue.ts';
import type { DataSet } from './tasks/data-sets.ts';
import { GROUPS, REFUSED_GROUPS } from './tasks/groups.ts';

const files = ({ what }: DataSet) =>
  z
    .union([z.string(), z.array(z.string())], 'a path or glob, or a list of them')
    .describe(`Files of ${what}; default: found in folder.`)
    .optional();

/**
 * The section `data`, with a key for every data set.
 *
 * @param folder what the key `folder` is
 */
export const dataSection = (folder = 'Folder that is searched for data sets; relative to this file.') =>
  z
    .strictObject({
      folder: text(folder).optional(),
      ...Object.fromEntries([...DATA_SETS].map(([name, dataSet]) => [name, files(dataSet)])),
    })
    .describe('The data sets.');

/** Paths below the section `data`, as in `RecipeRules.paths`. */
export const dataPaths: readonly (readonly [string])[] = ['folder', ...DATA_SETS.keys()].map((name) => [
  name,
]);

/** The sections with the settings of task families. */
export type FamilySections = { [Name in keyof FamilySettings]: z.ZodObject };

/** A section for every family with settings, without its defaults. */
export const familySections = Object.fromEntries(
  families.flatMap(([name, { settings }]) => (settings === undefined ? [] : [[name, settings]])),
) as FamilySections;

/**
 * Refuses a name that is no built-in task, and suggests the closest.
 *
 * @param takesMore whether a task may also be a group or a file
 */
export function checkTaskName(path: string, task: string, refusals: Refusals, takesMore = false): void {
  if (TASKS.has(task) || (takesMore && (GROUPS.has(task) || TASK_FILE.test(task)))) return;
  const instead = takesMore && REFUSED_GROUPS.get(task);
  if (instead) {
    refusals.add(path, task, instead);
    return;
  }
  const names = [...TASKS.keys(), ...(takesMore ? GROUPS.keys() : [])];
  refusals.add(path, task, `a task (${names.join(', ')}); did you mean ${closestMatch(task, names)}?`);
}
