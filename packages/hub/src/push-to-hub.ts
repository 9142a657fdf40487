import { pathToFileURL } from 'node:url';
import { HubError, reasonOf, withoutToken } from './errors.ts';
import { parseHubAddress } from './hub-name.ts';
import { hubFetch, requireSafe } from './hub-request.ts';
import { type HubSettings, hubSettings } from './hub-settings.ts';

/** A file to upload. */
export interface PushedFile {
  /** Path in the repository. */
  readonly path: string;
  /** A file of this machine, or a text. */
  readonly source: { readonly file: string } | { readonly text: string };
}

/** Progress of {@link pushToHub}. */
export type PushEvent =
  /** The repository was created, or exists. */
  | { type: 'repository'; url: string; isNew: boolean }
  /** A large file is on the Hub. */
  | { type: 'uploaded'; path: string };

/** Options of {@link pushToHub}. */
export interface PushOptions {
  files: readonly PushedFile[];
  /** Whether a new repository is private; an existing one stays as it is. */
  isPrivate: boolean;
  /** Title of the commit. */
  title: string;
  /** Receives progress. */
  onEvent?: (event: PushEvent) => void;
  signal?: AbortSignal;
  /** Default: the environment's. */
  settings?: HubSettings;
}

/**
 * Uploads files to a model of the Hub in one commit on `main`, after creating the repository if it does not exist. Files of
 * the repository with other names stay.
 *
 * @param name `OWNER/NAME`
 * @returns the page of the model and the commit
 * @throws HubError with what to do
 */
export async function pushToHub(
  name: string,
  options: PushOptions,
): Promise<{ url: string; commit: string }> {
  const { files, isPrivate, title, signal, onEvent = () => {}, settings = hubSettings() } = options;
  const parsed = parseHubAddress(`hf://${name}`);
  const { repo: name_, revision, path, type } = parsed;
  if (type !== 'model' || !name_.includes('/') || revision !== 'main' || path !== '') {
    throw new HubError(`${name}: not a name to push to, expected OWNER/NAME`);
  }
  const { endpoint, token, isOffline } = settings;
  if (isOffline) throw new HubError(`${name}: HF_HUB_OFFLINE is set; nothing is pushed without a network`);
  if (!token?.startsWith('hf_')) {
    const got = token ? 'one that does not start with hf_' : 'none';
    throw new HubError(
      `${name}: pushing needs a token with write access, got ${got}; create one on ${endpoint}/settings/tokens and set HF_TOKEN`,
    );
  }
  requireSafe(settings);
  // The client sends the token, to the Hub alone: the storage of large files is another host.
  const fetch = hubFetch(
    parsed,
    { ...settings, token: undefined },
    signal,
    (status) => status < 500 && status !== 429,
  );
  const { commitIter, createRepo } = await import('@huggingface/hub');
  const repo = { type: 'model' as const, name: name_ };
  const about = { repo, accessToken: token, hubUrl: endpoint, fetch };
  const url = `${endpoint}/${name_}`;
  try {
    const isNew = await createRepo({ ...about, visibility: isPrivate ? 'private' : 'public' }).then(
      () => true,
      (error) => {
        if ((error as { statusCode?: number }).statusCode === 409) return false;
        throw error;
      },
    );
    onEvent({ type: 'repository', url, isNew });
    const operations = files.map(({ path, source }) => ({
      operation: 'addOrUpdate' as const,
      path,
      content: 'file' in source ? pathToFileURL(source.file) : new Blob([source.text]),
    }));
    const events = commitIter({ ...about, operations, title, abortSignal: signal });
    for (;;) {
      const { done, value } = await events.next();
      if (done) return { url, commit: value?.commit.oid ?? '' };
      if (value.event === 'fileProgress' && value.state === 'uploading' && value.progress === 1) {
        onEvent({ type: 'uploaded', path: value.path });
      }
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw withoutToken(error instanceof HubError ? error : refusal(name, error, settings), token);
  }
}

function refusal(name: string, error: unknown, { endpoint }: HubSettings): HubError {
  const { statusCode } = error as { statusCode?: number };
  const what = { 401: 'HF_TOKEN is not valid', 403: 'HF_TOKEN may not write there' }[statusCode ?? 0];
  const tip = what ? `; create a token with write access on ${endpoint}/settings/tokens` : '';
  return new HubError(`${name}: the Hub refused the upload: ${what ?? reasonOf(error)}${tip}`, {
    cause: error,
  });
}
