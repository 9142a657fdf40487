import { statSync } from 'node:fs';
import { basename } from 'node:path';
import { fetchFromHub, HubError, type HubEvent, hubAddress } from '@meap/hub';
import { ConfigurationError } from '@meap/recipe-cli';
import { glob } from 'tinyglobby';
import { isResultFile } from './result-folder.ts';
import { DATA_SETS } from './tasks/catalogue.ts';
import { HUB_DATA, hubNameOf } from './tasks/hub-data.ts';

/** The value of `data.folder` that fetches data sets from the Hugging Face Hub. */
export const HUB = 'hub';

/**
 * The section `data`: the folder that is searched for data sets, or `hub` to fetch them, and files by the name of their
 * data set.
 */
export interface DataSection {
  readonly folder?: string;
  readonly [dataSet: string]: string | readonly string[] | undefined;
}

/** Files by the name of their data set. */
export type DataFiles = Record<string, readonly string[]>;

/** Options of {@link findData}. */
export interface FindDataOptions {
  /** Path of the section in the recipe, for messages; default `data`. */
  readonly path?: string;
  /** Called with the progress of downloads. */
  readonly onDownload?: (event: HubEvent) => void;
  /** Ends downloads; what was received stays. */
  readonly signal?: AbortSignal;
}

/**
 * Finds the files of data sets: those in the configuration, or else matching files in `data.folder` or on the Hub.
 *
 * @throws ConfigurationError for a folder that does not exist, or with every data set that is missing (and where to get
 *   it) or ambiguous; for one that cannot be fetched
 */
export async function findData(
  names: readonly string[],
  { data }: { readonly data: DataSection },
  { path = 'data', ...options }: FindDataOptions = {},
): Promise<DataFiles> {
  const files: DataFiles = {};
  const problems: string[] = [];
  const toFetch: string[] = [];
  for (const name of new Set(names)) {
    const given = data[name];
    if (given !== undefined) {
      files[name] = typeof given === 'string' ? [given] : (given as readonly string[]);
      continue;
    }
    if (data.folder === HUB) {
      if (HUB_DATA.has(name)) toFetch.push(name);
      else problems.push(missing(path, name, data.folder));
      continue;
    }
    const found = await search(path, data.folder, name);
    if (found.length === 0) problems.push(missing(path, name, data.folder));
    else if (found.length > 1 && !found.every(isShard)) problems.push(ambiguous(path, name, found));
    else files[name] = found;
  }
  if (problems.length > 0) throw new ConfigurationError(problems);
  for (const name of toFetch) files[name] = await fetchData(path, name, options);
  return files;
}

async function fetchData(
  path: string,
  name: string,
  options: Omit<FindDataOptions, 'path'>,
): Promise<string[]> {
  const { signal, onDownload: onEvent } = options;
  const address = hubAddress(hubNameOf(HUB_DATA.get(name)!));
  try {
    return (await fetchFromHub(address, { wanted: 'files', signal, onEvent })).files;
  } catch (error) {
    if (error instanceof HubError) throw new ConfigurationError([`${path}.${name}: ${error.message}`]);
    throw error;
  }
}

/** Finds the files of an optional data set; undefined if there are none. */
export async function findOptionalData(
  name: string,
  { data }: { readonly data: DataSection },
): Promise<readonly string[] | undefined> {
  if (data[name] !== undefined) return (await findData([name], { data }))[name];
  if (data.folder === HUB) return undefined;
  const found = await search('data', data.folder, name);
  return found.length > 0 ? found : undefined;
}

async function search(path: string, folder: string | undefined, name: string): Promise<string[]> {
  if (folder === undefined) return [];
  const stats = statSync(folder, { throwIfNoEntry: false });
  if (!stats?.isDirectory()) {
    const problem = stats ? 'is not a folder' : 'does not exist';
    throw new ConfigurationError([
      `${path}.folder: got ${folder}, which ${problem}, expected a folder that contains data sets; correct ${folderFlag(path)}`,
    ]);
  }
  const { patterns, not = [] } = DATA_SETS.get(name)!;
  const options = { cwd: folder, absolute: true, caseSensitiveMatch: false, deep: 6, ignore: [...not] };
  for (const pattern of patterns) {
    const found = await glob(pattern, options);
    // Results of earlier runs are named after their tasks, as data are.
    const data = found.filter((path) => !isResultFile(path));
    if (data.length > 0) return data.sort();
  }
  return [];
}

/** Whether a file may be one of several that form a split. */
function isShard(path: string): boolean {
  return /-\d{5}-of-\d{5}\./.test(path) || path.endsWith('.txt');
}

function missing(path: string, name: string, folder: string | undefined): string {
  const { what, source } = DATA_SETS.get(name)!;
  const own = `its file with --set ${path}.${name}=FILE`;
  if (folder === HUB)
    return `${path}.${name}: ${HUB} does not fetch it, expected ${what}; get it from ${source}, and set ${own}`;
  const problem = folder === undefined ? 'no data folder given' : `not found in ${folder}`;
  const onHub = HUB_DATA.get(name);
  const fetch =
    path === 'data' ? `--data ${HUB}` : `--set ${path}.${name}=${onHub && hubAddress(hubNameOf(onHub))}`;
  return (
    `${path}.${name}: ${problem}, expected ${what}; get it from ${source}, and set its folder with ${folderFlag(path)} ` +
    `or ${own}${onHub ? `; or fetch it with ${fetch}` : ''}`
  );
}

function folderFlag(path: string): string {
  return path === 'data' ? '--data DIR' : `--set ${path}.folder=DIR`;
}

function ambiguous(path: string, name: string, found: readonly string[]): string {
  const names = found.slice(0, 4).map((path) => basename(path));
  return (
    `${path}.${name}: got ${found.length} matching files (${names.join(', ')}), expected one; ` +
    `choose with --set ${path}.${name}=FILE`
  );
}
