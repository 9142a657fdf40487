import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { ConfigurationError } from '@meap/recipe-cli';
import { type BadRecordError, readRecords } from '@meap/token-dataset';
import { glob } from 'tinyglobby';
import type { EvaluateConfig } from './config.ts';
import { DATA_SETS, type DataSet, type DataSetName } from './data-sets.ts';

/** Files of the data sets that were asked for. */
export type DataFiles = Partial<Record<DataSetName, readonly string[]>>;

/**
 * Finds files: those that the configuration names, and for the others those in `data.folder` that look like them.
 *
 * @throws ConfigurationError naming every data set that is missing, with where to get it, or that several files fit
 */
export async function findData(
  names: readonly DataSetName[],
  { data }: Pick<EvaluateConfig, 'data'>,
): Promise<DataFiles> {
  const files: DataFiles = {};
  const problems: string[] = [];
  for (const name of new Set(names)) {
    const given = data[name];
    if (given !== undefined) {
      files[name] = typeof given === 'string' ? [given] : given;
      continue;
    }
    const found = data.folder === undefined ? [] : await search(data.folder, DATA_SETS[name]);
    if (found.length === 0) problems.push(missing(name, data.folder));
    else if (found.length > 1 && !found.every(isShard)) problems.push(ambiguous(name, found));
    else files[name] = found;
  }
  if (problems.length > 0) throw new ConfigurationError(problems);
  return files;
}

/** Files of a data set that can be done without; undefined where there are none. */
export async function findOptionalData(
  name: DataSetName,
  { data }: Pick<EvaluateConfig, 'data'>,
): Promise<readonly string[] | undefined> {
  if (data[name] !== undefined) return (await findData([name], { data }))[name];
  const found = data.folder === undefined ? [] : await search(data.folder, DATA_SETS[name]);
  return found.length > 0 ? found : undefined;
}

/** Reads all records of some files. */
export async function readRows(files: readonly string[]): Promise<Readonly<Record<string, unknown>>[]> {
  const rows: Readonly<Record<string, unknown>>[] = [];
  for await (const { record } of readRecords({ files, onBadRecord: refuse })) rows.push(record);
  return rows;
}

/** Reads whole files of text, and the field `text` of files of records. */
export async function readTexts(files: readonly string[]): Promise<string[]> {
  const texts: string[] = [];
  for (const pattern of files) {
    const matches = pattern.includes('.txt') ? await glob(pattern, { absolute: true }) : [];
    for (const path of matches.sort()) texts.push(await readFile(path, 'utf8'));
    if (matches.length > 0) continue;
    for await (const { record, file, unit, position } of readRecords({
      files: pattern,
      onBadRecord: refuse,
    })) {
      if (typeof record.text !== 'string') {
        throw new ConfigurationError([
          `${file}, ${unit} ${position}: got ${Object.keys(record).join(', ')}, expected a field text`,
        ]);
      }
      texts.push(record.text);
    }
  }
  return texts;
}

/** An evaluation leaves no row out: its score would be of another data set. */
function refuse({ file, unit, position, reason }: BadRecordError): never {
  throw new ConfigurationError([
    `${file}, ${unit} ${position}: ${reason}; mend it, or take it out of the file`,
  ]);
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

function missing(name: DataSetName, folder: string | undefined): string {
  const { what, source } = DATA_SETS[name];
  const where = folder === undefined ? 'no folder of data was given' : `nothing like it in ${folder}`;
  return (
    `data.${name}: ${where}, expected ${what}; get it from ${source}, and give its folder with --data DIR ` +
    `or its file with --set data.${name}=FILE`
  );
}

function ambiguous(name: DataSetName, found: readonly string[]): string {
  const names = found.slice(0, 4).map((path) => basename(path));
  return (
    `data.${name}: got ${found.length} files that could be it (${names.join(', ')}), expected one; ` +
    `choose with --set data.${name}=FILE`
  );
}
