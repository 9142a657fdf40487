import { basename } from 'node:path';
import { ConfigurationError } from '@meap/recipe-cli';
import { glob } from 'tinyglobby';
import type { CommandConfig } from './config.ts';
import { DATA_SETS } from './tasks/catalogue.ts';
import type { DataSet } from './tasks/data-sets.ts';

/** Files of the data sets that were asked for. */
export type DataFiles = Record<string, readonly string[]>;

/**
 * Finds files: those that the configuration names, and for the others those in `data.folder` that look like them.
 *
 * @throws ConfigurationError naming every data set that is missing, with where to get it, or that several files fit
 */
export async function findData(
  names: readonly string[],
  { data }: Pick<CommandConfig, 'data'>,
): Promise<DataFiles> {
  const files: DataFiles = {};
  const problems: string[] = [];
  for (const name of new Set(names)) {
    const given = data[name];
    if (given !== undefined) {
      files[name] = typeof given === 'string' ? [given] : given;
      continue;
    }
    const found = data.folder === undefined ? [] : await search(data.folder, DATA_SETS.get(name)!);
    if (found.length === 0) problems.push(missing(name, data.folder));
    else if (found.length > 1 && !found.every(isShard)) problems.push(ambiguous(name, found));
    else files[name] = found;
  }
  if (problems.length > 0) throw new ConfigurationError(problems);
  return files;
}

/** Files of a data set that can be done without; undefined where there are none. */
export async function findOptionalData(
  name: string,
  { data }: Pick<CommandConfig, 'data'>,
): Promise<readonly string[] | undefined> {
  if (data[name] !== undefined) return (await findData([name], { data }))[name];
  const found = data.folder === undefined ? [] : await search(data.folder, DATA_SETS.get(name)!);
  return found.length > 0 ? found : undefined;
}

async function search(folder: string, { patterns }: DataSet): Promise<string[]> {
  for (const pattern of patterns) {
    const found = await glob(pattern, { cwd: folder, absolute: true, caseSensitiveMatch: false, deep: 6 });
    if (found.length > 0) return found.sort();
  }
  return [];
}

/** Whether a file is one of several that make up a split, as the hub cuts them. */
function isShard(path: string): boolean {
  return /-\d{5}-of-\d{5}\./.test(path) || path.endsWith('.txt');
}

function missing(name: string, folder: string | undefined): string {
  const { what, source } = DATA_SETS.get(name)!;
  const where = folder === undefined ? 'no folder of data was given' : `nothing like it in ${folder}`;
  return (
    `data.${name}: ${where}, expected ${what}; get it from ${source}, and give its folder with --data DIR ` +
    `or its file with --set data.${name}=FILE`
  );
}

function ambiguous(name: string, found: readonly string[]): string {
  const names = found.slice(0, 4).map((path) => basename(path));
  return (
    `data.${name}: got ${found.length} files that could be it (${names.join(', ')}), expected one; ` +
    `choose with --set data.${name}=FILE`
  );
}
