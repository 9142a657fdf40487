import { existsSync } from 'node:fs';
import { join } from 'node:path';
import PQueue from 'p-queue';
import picomatch from 'picomatch';
import { cachedCommit, cachedFiles, isCommit, linkBlob, repoFolder, storeCommit } from './cache.ts';
import { type Download, download } from './download.ts';
import { HubError, reasonOf, withoutToken } from './errors.ts';
import { type HubName, parseHubAddress, showName } from './hub-name.ts';
import { type HubFetch, hubFetch, UnreachableError } from './hub-request.ts';
import { type HubSettings, hubSettings } from './hub-settings.ts';
import { lockFolder } from './lock-folder.ts';
import { modelFiles, tokenizerFiles } from './model-files.ts';

/** Files downloaded at a time; more do not make one line faster. */
const NUM_CONNECTIONS = 4;

/** What to fetch: what a model needs, what a tokenizer needs, or the files that the address names. */
export type Wanted = 'model' | 'tokenizer' | 'files';

/** Progress of {@link fetchFromHub}. */
export type HubEvent =
  /** Something has to be downloaded: the bytes of all files, and those that are there. */
  | { type: 'progress'; name: string; files: number; bytes: number; totalBytes: number }
  /** Another process downloads from the same repository. */
  | { type: 'waiting'; name: string }
  /** The Hub cannot be reached; the cache has everything. */
  | { type: 'unreachable'; name: string; message: string };

/** Options of {@link fetchFromHub}. */
export interface FetchOptions {
  /** What to fetch of the repository. */
  wanted: Wanted;
  /** Called with the progress of a download. */
  onEvent?: (event: HubEvent) => void;
  /** Ends the download; the part that was received stays. */
  signal?: AbortSignal;
  /** Default: the environment's. */
  settings?: HubSettings;
}

/** What was fetched, or was in the cache. */
export interface Fetched {
  name: HubName;
  /** The commit of the revision. */
  commit: string;
  /** The folder in the cache with the files of this commit. */
  folder: string;
  /** Paths of the files, sorted with numbers by value. */
  files: string[];
}

/**
 * Makes the files of a Hub address available in the cache, downloads those that are missing, and returns their paths.
 *
 * Several files at a time; a part that was received before is continued; every file is checked by its hash. Of several
 * processes one downloads, the others wait. Where the Hub cannot be reached, the cache is used if it has the revision.
 *
 * @param address `hf://[datasets/]OWNER/NAME[@REVISION][/FILES]`, in which FILES may be a glob
 * @throws HubError with what to do
 */
export async function fetchFromHub(address: string, options: FetchOptions): Promise<Fetched> {
  const { settings = hubSettings(), signal, onEvent = () => {} } = options;
  const name = parseHubAddress(address);
  const folder = repoFolder(settings.cache, name);
  if (settings.isOffline) return fromCache(name, folder, options.wanted, 'HF_HUB_OFFLINE is set');
  const fetch = hubFetch(name, settings, signal);
  try {
    const commit = await commitOf(name, settings, fetch);
    return await fetchCommit(name, commit, folder, { ...options, settings, onEvent }, fetch);
  } catch (thrown) {
    const error = withoutToken(thrown, settings.token);
    if (!(error instanceof UnreachableError) || cachedCommit(folder, name.revision) === undefined)
      throw error;
    try {
      const fetched = fromCache(name, folder, options.wanted, reasonOf(error));
      onEvent({ type: 'unreachable', name: showName(name), message: error.message });
      return fetched;
    } catch {
      // The cause is the network, not the cache.
      throw error;
    }
  }
}

/** The commit of a name. */
export async function commitOf(name: HubName, { endpoint }: HubSettings, fetch: HubFetch): Promise<string> {
  if (isCommit(name.revision)) return name.revision;
  // Every command loads this file; few need the client.
  const { datasetInfo, modelInfo } = await import('@huggingface/hub');
  const { repo, revision } = name;
  const about = { name: repo, revision, hubUrl: endpoint, fetch };
  const { sha } = await (name.type === 'dataset'
    ? datasetInfo({ ...about, additionalFields: ['sha'] })
    : modelInfo({ ...about, additionalFields: ['sha'] }));
  if (isCommit(sha)) return sha;
  throw new HubError(`${showName(name)}: ${endpoint} names no commit, got ${JSON.stringify(sha)}`);
}

async function fetchCommit(
  name: HubName,
  commit: string,
  folder: string,
  { wanted, onEvent, settings, signal }: Required<Omit<FetchOptions, 'signal'>> & { signal?: AbortSignal },
  fetch: HubFetch,
): Promise<Fetched> {
  const shown = showName(name);
  const { endpoint } = settings;
  const entries = await listFolder(name, commit, wanted, settings, fetch);
  const selected = select(name, [...entries.keys()], wanted);
  const snapshot = join(folder, 'snapshots', commit);
  const missing = () => selected.filter((file) => !existsSync(join(snapshot, ...file.split('/'))));
  if (missing().length > 0) {
    const release = await lockFolder(folder, () => onEvent({ type: 'waiting', name: shown }), signal);
    try {
      // Another process may have downloaded them by now.
      const needed = missing().map((file) => entries.get(file)!);
      if (needed.length > 0) {
        await downloadAll(name, commit, needed, folder, { onEvent, endpoint, signal }, fetch);
      }
    } finally {
      await release();
    }
  }
  await storeCommit(folder, name.revision, commit);
  return describe(name, commit, snapshot, wanted, selected);
}

/** A file as the Hub lists it; declared here, since the declarations of `@huggingface/hub` need Node's types. */
interface FileEntry {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Of a file that the Hub stores in git. */
  readonly oid?: string;
  /** Of another: its SHA-256 and size. */
  readonly lfs?: { readonly oid: string; readonly size: number };
}

/** Lists the files of the folder that an address names. */
export async function listFolder(
  { type, repo, path: whole }: HubName,
  commit: string,
  wanted: Wanted,
  { endpoint: hubUrl }: HubSettings,
  fetch: HubFetch,
): Promise<Map<string, FileEntry>> {
  const { listFiles } = await import('@huggingface/hub');
  const path = wanted === 'files' ? literalFolder(whole) : whole;
  const about = { repo: { type, name: repo }, revision: commit, path, recursive: true, hubUrl, fetch };
  const entries = new Map<string, FileEntry>();
  for await (const entry of listFiles(about)) if (entry.type === 'file') entries.set(entry.path, entry);
  return entries;
}

/** The download of a file of a commit. */
export function downloadOf(
  name: HubName,
  commit: string,
  { path, size, hash }: { path: string } & Pick<Download, 'size' | 'hash'>,
  endpoint: string,
  place: string,
): Download {
  const kind = name.type === 'dataset' ? 'datasets/' : '';
  const encoded = path.split('/').map(encodeURIComponent).join('/');
  const url = `${endpoint}/${kind}${name.repo}/resolve/${commit}/${encoded}`;
  return { url, shown: `${showName(name)}/${path}`, size, hash, path: place };
}

function describe(
  name: HubName,
  commit: string,
  snapshot: string,
  wanted: Wanted,
  files: readonly string[],
): Fetched {
  // A model or tokenizer may be in a folder of its repository.
  const within = wanted === 'files' ? [] : name.path.split('/').filter(Boolean);
  const paths = files.map((file) => join(snapshot, ...file.split('/')));
  return { name, commit, folder: join(snapshot, ...within), files: paths };
}

async function downloadAll(
  name: HubName,
  commit: string,
  needed: readonly FileEntry[],
  folder: string,
  {
    onEvent,
    endpoint,
    signal,
  }: { onEvent: (event: HubEvent) => void; endpoint: string; signal?: AbortSignal },
  fetch: HubFetch,
): Promise<void> {
  const shown = showName(name);
  let bytes = 0;
  const report = () => onEvent({ type: 'progress', name: shown, files: needed.length, bytes, totalBytes });
  const queue = new PQueue({ concurrency: NUM_CONNECTIONS });
  // Files with the same content are one blob.
  const blobs = new Map<string, { file: Download; paths: string[] }>();
  for (const { path, size, oid, lfs } of needed) {
    const value = lfs?.oid ?? oid ?? '';
    if (!/^[0-9a-f]{40,64}$/.test(value))
      throw new HubError(`${shown}: ${path}: the Hub names no hash of it`);
    const hash = { algorithm: lfs ? ('sha256' as const) : ('git' as const), value };
    const about = { path, size: lfs?.size ?? size, hash };
    const file = downloadOf(name, commit, about, endpoint, join(folder, 'blobs', value));
    const known = blobs.get(value);
    if (known) known.paths.push(path);
    else blobs.set(value, { file, paths: [path] });
  }
  const totalBytes = [...blobs.values()].reduce((sum, { file }) => sum + file.size, 0);
  const tasks = [...blobs.values()].map(({ file, paths }) => async () => {
    signal?.throwIfAborted();
    await download(file, fetch, (count) => {
      bytes += count;
      report();
    });
    for (const path of paths) {
      await linkBlob(file.path, join(folder, 'snapshots', commit, ...path.split('/')));
    }
  });
  report();
  try {
    await queue.addAll(tasks);
  } catch (error) {
    // Downloads under way end with their file; those that wait do not begin.
    queue.clear();
    await queue.onIdle();
    throw error;
  }
}

/** What the cache has of an address. */
function fromCache(name: HubName, folder: string, wanted: Wanted, why: string): Fetched {
  const shown = showName(name);
  const commit = cachedCommit(folder, name.revision);
  const snapshot = commit && join(folder, 'snapshots', commit);
  if (!snapshot || !existsSync(snapshot)) {
    throw new HubError(`${shown}: is not in the cache ${folder}, and ${why}; fetch it with a network first`);
  }
  const selected = select(name, cachedFiles(snapshot), wanted);
  return describe(name, commit!, snapshot, wanted, selected);
}

/** Selects the wanted files of a repository, in the order of their names with numbers by value. */
export function select(name: HubName, files: readonly string[], wanted: Wanted): string[] {
  const shown = showName(name);
  const { path } = name;
  // A path from the Hub must not leave the folder of the snapshot.
  const bad = files.find(
    (file) => file.split(/[\\/]/).includes('..') || file.startsWith('/') || /^[a-z]:/i.test(file),
  );
  if (bad !== undefined) throw new HubError(`${shown}: the Hub names a file outside the repository: ${bad}`);
  if (wanted === 'files') {
    if (path === '')
      throw new HubError(`${shown}: no files given; name them as in hf://${shown}/data/*.parquet`);
    const matches = picomatch(path, { dot: false });
    const found = files.filter((file) => file === path || matches(file));
    if (found.length > 0) return found.sort(new Intl.Collator('en', { numeric: true }).compare);
    const some = files.slice(0, 5).join(', ');
    throw new HubError(
      `${shown}: nothing matches ${path}${some && `; it has ${some}${files.length > 5 ? ', …' : ''}`}`,
    );
  }
  const prefix = path === '' ? '' : `${path}/`;
  const inside = files.filter((file) => file.startsWith(prefix)).map((file) => file.slice(prefix.length));
  const choose = wanted === 'model' ? modelFiles : tokenizerFiles;
  return choose(inside, path === '' ? shown : `${shown}/${path}`).map((file) => prefix + file);
}

/** The folders of a glob before its first pattern; the Hub lists them only. */
function literalFolder(path: string): string {
  const folders = path.split('/').slice(0, -1);
  const pattern = folders.findIndex((folder) => picomatch.scan(folder).isGlob);
  return folders.slice(0, pattern < 0 ? undefined : pattern).join('/');
}
