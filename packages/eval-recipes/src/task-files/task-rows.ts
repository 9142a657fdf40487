/** Finds the rows of a task file: its own files, files in the folder of data sets, or the Hub. */
import { existsSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import type { Row } from '@meap/evals';
import { fetchFromHub, HubError } from '@meap/hub';
import { ConfigurationError } from '@meap/recipe-cli';
import { glob } from 'tinyglobby';
import { HUB } from '../find-data.ts';
import { isResultFile } from '../result-folder.ts';
import { RECORDS } from '../tasks/data-sets.ts';
import { readRows } from '../tasks/read-data.ts';
import type { TaskSources } from '../tasks/task-family.ts';
import type { ReadTask } from './task-schema.ts';

type RowSources = Pick<TaskSources, 'folder' | 'signal' | 'onDownload' | 'onFiles'>;

/**
 * The rows of a split.
 *
 * @param sources with the folder of data sets: `NAME/CONFIG/SPLIT*.parquet` as on the Hub, or `TASK_SPLIT.jsonl`
 * @throws ConfigurationError for rows that are not found, or damaged
 */
export async function rowsOfSplit(
  task: ReadTask,
  split: string,
  sources: RowSources,
): Promise<readonly Row[]> {
  const files = await filesOfSplit(task, split, sources);
  sources.onFiles?.(`${task.configuration.task}_${split}`, files);
  return readRows(files);
}

async function filesOfSplit(
  { file, data, configuration }: ReadTask,
  split: string,
  { folder: searched, signal, onDownload }: RowSources,
): Promise<readonly string[]> {
  const folder = searched === HUB ? undefined : searched;
  const { dataset_path: path, dataset_name: config, files } = data;
  const fail = (problem: string) => new ConfigurationError([`${file}: ${problem}`]);
  if (files !== undefined) {
    const given = files[split];
    if (given === undefined) {
      const splits = Object.keys(files).join(', ');
      throw fail(`dataset_kwargs.data_files: got files of ${splits}, expected some of the split ${split}`);
    }
    return given.map((one) => {
      // Relative to the file, as all paths of recipes; else to the working directory, as in the harness.
      const found = [resolve(dirname(file), one), resolve(one)].find((candidate) => existsSync(candidate));
      if (found === undefined)
        throw fail(`dataset_kwargs.data_files: no file ${one}; paths are relative to the YAML`);
      return found;
    });
  }
  if (/^(json|csv|parquet|arrow|text)$/.test(path)) {
    throw fail(`dataset_kwargs.data_files: got nothing, expected files by split with dataset_path ${path}`);
  }
  const name = basename(path);
  const within = config === undefined ? `**/${name}` : `**/${name}/${config}`;
  const patterns = [`${within}/**/${split}{[-.]*,}.${RECORDS}`, `${within}/${split}/*.${RECORDS}`];
  for (const pattern of [...patterns, `**/${configuration.task}_${split}*.${RECORDS}`]) {
    const options = { cwd: folder, absolute: true, caseSensitiveMatch: false, deep: 6 };
    const found =
      folder === undefined ? [] : (await glob(pattern, options)).filter((one) => !isResultFile(one));
    if (found.length > 0) return found.sort();
  }
  const address = `hf://datasets/${path}@refs/convert/parquet/${config ?? 'default'}/${split}/*.parquet`;
  try {
    return (await fetchFromHub(address, { wanted: 'files', signal, onEvent: onDownload })).files;
  } catch (error) {
    if (!(error instanceof HubError)) throw error;
    const shown = [path, config, `split ${split}`].filter(Boolean).join(', ');
    const local = `${name}/${config ? `${config}/` : ''}${split}.jsonl or ${configuration.task}_${split}.jsonl`;
    throw fail(
      `dataset_path: got ${shown}, which is not in ${folder ?? 'a folder of data (none given)'} and not fetched: ${error.message}; put ` +
        `it there as ${local}, or name files by split in dataset_kwargs.data_files`,
    );
  }
}
