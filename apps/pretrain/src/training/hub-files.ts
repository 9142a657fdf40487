/** Files of the Hub that are fetched while they are tokenized: `data.keep_downloads: false`. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeDirectory, writeFileAtomic } from '@meap/files';
import { fetchFromHub, fetchHubFile, HubError, type HubFile, isHubAddress, listHubFiles } from '@meap/hub';
import { DatasetError, type RemoteFile } from '@meap/token-dataset';

/**
 * Replaces addresses by the files that they name; other paths stay.
 *
 * Files that the Hub stores in git, small ones, are fetched into its cache. Listings are cached: those of a commit do not
 * change, so that prepared data need no network.
 *
 * @throws DatasetError for an address that cannot be listed
 */
export async function remoteFiles(
  paths: readonly string[],
  cacheDir: string,
  signal?: AbortSignal,
): Promise<(string | RemoteFile)[]> {
  const files: (string | RemoteFile)[] = [];
  for (const path of paths) {
    if (!isHubAddress(path)) files.push(path);
    else for (const file of await listed(path, cacheDir, signal)) files.push(await remote(file, signal));
  }
  return files;
}

async function listed(address: string, cacheDir: string, signal?: AbortSignal): Promise<HubFile[]> {
  const folder = join(cacheDir, 'hub');
  const known = join(folder, `${createHash('sha256').update(address).digest('hex').slice(0, 16)}.json`);
  const isPinned = /@[0-9a-f]{40}(\/|$)/.test(address);
  try {
    if (isPinned) return JSON.parse(readFileSync(known, 'utf8'));
  } catch {
    // Not listed before, or damaged.
  }
  const files = await asDataset(() => listHubFiles(address, { signal }));
  if (isPinned) {
    makeDirectory(folder);
    writeFileAtomic(known, JSON.stringify(files));
  }
  return files;
}

async function remote(file: HubFile, signal?: AbortSignal): Promise<string | RemoteFile> {
  const { address: path, size, sha256 } = file;
  if (sha256 === undefined) {
    const fetched = await asDataset(() => fetchFromHub(path, { wanted: 'files', signal }));
    return fetched.files[0];
  }
  return {
    path,
    size,
    sha256,
    fetch: (folder, stop) => {
      const both = signal ? AbortSignal.any([signal, stop]) : stop;
      return asDataset(() => fetchHubFile({ ...file, sha256 }, folder, { signal: both }));
    },
  };
}

/** Errors of the Hub are those of the data here. */
async function asDataset<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw error instanceof HubError ? new DatasetError(`data: ${error.message}`) : error;
  }
}
