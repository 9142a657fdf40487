/** Single files of the Hub, for texts larger than the disk: listed first, fetched when they are read. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { isCommit, repoFolder } from './cache.ts';
import { download } from './download.ts';
import { HubError, withoutToken } from './errors.ts';
import { commitOf, downloadOf, listFolder, select } from './fetch-from-hub.ts';
import { hubAddress, parseHubAddress, showName } from './hub-name.ts';
import { hubFetch } from './hub-request.ts';
import { type HubSettings, hubSettings } from './hub-settings.ts';

/** A file of the Hub at a commit. */
export interface HubFile {
  /** `hf://datasets/OWNER/NAME@COMMIT/FILE` */
  readonly address: string;
  /** Bytes. */
  readonly size: number;
  /** Absent for a small file that the Hub stores in git, by another hash. */
  readonly sha256?: string;
}

/** Options of {@link listHubFiles} and {@link fetchHubFile}. */
export interface HubFileOptions {
  /** Ends the download; the part that was received stays. */
  signal?: AbortSignal;
  /** Default: the environment's. */
  settings?: HubSettings;
}

/**
 * Replaces the branch or tag of an address by its commit.
 *
 * @throws HubError as {@link listHubFiles}
 */
export async function pinHubAddress(
  address: string,
  { signal, settings = hubSettings() }: HubFileOptions = {},
): Promise<string> {
  const name = parseHubAddress(address);
  if (isCommit(name.revision)) return address;
  try {
    requireNetwork(showName(name), settings);
    const revision = await commitOf(name, settings, hubFetch(name, settings, signal));
    return hubAddress({ ...name, revision });
  } catch (error) {
    throw withoutToken(error, settings.token);
  }
}

/**
 * The files of an address, sorted with numbers by value.
 *
 * @throws HubError without a network, for a name that the Hub does not have, and where nothing matches
 */
export async function listHubFiles(
  address: string,
  { signal, settings = hubSettings() }: HubFileOptions = {},
): Promise<HubFile[]> {
  const name = parseHubAddress(address);
  try {
    requireNetwork(showName(name), settings);
    const fetch = hubFetch(name, settings, signal);
    const revision = await commitOf(name, settings, fetch);
    const entries = await listFolder(name, revision, 'files', settings, fetch);
    return select(name, [...entries.keys()], 'files').map((path) => {
      const { size, lfs } = entries.get(path)!;
      const sha256 = lfs && { sha256: lfs.oid };
      return { address: hubAddress({ ...name, revision, path }), size: lfs?.size ?? size, ...sha256 };
    });
  } catch (error) {
    throw withoutToken(error, settings.token);
  }
}

/**
 * Makes a file with a SHA-256 available and returns its path: in the cache if that has it, otherwise in a folder, where a
 * part that was received before is continued.
 *
 * @throws HubError with what to do
 */
export async function fetchHubFile(
  { address, size, sha256 }: HubFile & { readonly sha256: string },
  folder: string,
  { signal, settings = hubSettings() }: HubFileOptions = {},
): Promise<string> {
  const name = parseHubAddress(address);
  const { path, revision } = name;
  const cached = repoFolder(settings.cache, name);
  // Where links are not allowed, as on Windows, the snapshot has the content.
  const places = [join(cached, 'snapshots', revision, ...path.split('/')), join(cached, 'blobs', sha256)];
  const found = places.find(existsSync);
  if (found !== undefined) return found;
  try {
    requireNetwork(`${showName(name)}/${path}`, settings);
    // Files of the same content are deleted one by one; a file of another commit may be there.
    const own = createHash('sha256').update(`${sha256} ${path}`).digest('hex').slice(0, 32);
    const hash = { algorithm: 'sha256', value: sha256 } as const;
    const file = downloadOf(name, revision, { path, size, hash }, settings.endpoint, join(folder, own));
    // It was listed, and one lost connection must not end the preparation of a whole corpus.
    const fetch = hubFetch(name, settings, signal, undefined, true);
    await download(file, fetch, () => {});
    return file.path;
  } catch (error) {
    throw withoutToken(error, settings.token);
  }
}

function requireNetwork(shown: string, { isOffline }: HubSettings): void {
  if (!isOffline) return;
  throw new HubError(
    `${shown}: is fetched while it is read, and HF_HUB_OFFLINE is set; unset it, or fetch the whole text into the cache first`,
  );
}
