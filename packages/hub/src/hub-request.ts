/** Requests to the Hub: retried where that helps, with errors that say what to do. */
import pRetry, { AbortError } from 'p-retry';
import { HubError, reasonOf } from './errors.ts';
import { type HubName, showName } from './hub-name.ts';
import type { HubSettings } from './hub-settings.ts';

/** Attempts at a request that fails without a byte received, the first one included. */
const MAX_ATTEMPTS = 6;
/** Longest wait that a server may ask for. */
const MAX_WAIT_MS = 300_000;

/** The Hub did not answer: no network, or the server is down. */
export class UnreachableError extends HubError {}

export type HubFetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/**
 * Returns a `fetch` for a repository, which returns successful responses only.
 *
 * No connection, 429 and 5xx are retried, with the wait that the server asks for.
 *
 * @param returns statuses besides success that are returned
 * @param hasAnswered whether the Hub answered before, so that a first request without a connection is retried too
 * @throws HubError with what to do about any other status
 */
export function hubFetch(
  name: HubName,
  settings: HubSettings,
  signal?: AbortSignal,
  returns: (status: number) => boolean = () => false,
  hasAnswered = false,
): HubFetch {
  const { endpoint, token, retryMs } = settings;
  requireSafe(settings);
  return (input, init) =>
    pRetry(
      async () => {
        signal?.throwIfAborted();
        const headers = new Headers(init?.headers);
        if (token) headers.set('authorization', `Bearer ${token}`);
        headers.set('user-agent', 'meap');
        let response: Response;
        try {
          // Redirects to another host go without the token.
          response = await fetch(input, { ...init, headers, signal });
        } catch (error) {
          signal?.throwIfAborted();
          const unreachable = new UnreachableError(
            `${showName(name)}: ${endpoint} cannot be reached: ${reasonOf(error)}; check the network, or set ` +
              'HF_HUB_OFFLINE=1 to use only what is in the cache',
          );
          // Without a network, the user learns it at once.
          throw hasAnswered ? unreachable : new AbortError(unreachable);
        }
        hasAnswered = true;
        if (response.ok || returns(response.status)) return response;
        await response.body?.cancel();
        const error = statusError(response, name, settings);
        if (response.status !== 429 && response.status < 500) throw new AbortError(error);
        await waitFor(response, signal);
        throw error;
      },
      // p-retry takes a TypeError for a mistake in the program, so errors of fetch are converted above.
      { retries: MAX_ATTEMPTS - 1, minTimeout: retryMs, signal },
    );
}

/** Refuses what errors would show: a password in an address, a token that is no header. */
export function requireSafe({ endpoint, token = '' }: HubSettings): void {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (!url || url.username || url.password) {
    throw new HubError(
      'HF_ENDPOINT: the address is wrong, expected one like https://huggingface.co, without name and password',
    );
  }
  if (!/^[\x21-\x7e]*$/.test(token)) {
    throw new HubError('HF_TOKEN: got invalid characters, expected printable ASCII without spaces');
  }
}

/** Waits as long as a server asks for. */
async function waitFor({ headers }: Response, signal: AbortSignal | undefined): Promise<void> {
  const seconds = Number(headers.get('retry-after') ?? 0);
  const ms = Math.min(MAX_WAIT_MS, 1000 * (Number.isFinite(seconds) ? seconds : 0));
  const end = performance.now() + ms;
  while (performance.now() < end) {
    signal?.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, Math.min(200, end - performance.now())));
  }
}

function statusError(
  { status, headers }: Response,
  name: HubName,
  { endpoint, token }: HubSettings,
): HubError {
  const shown = showName(name);
  const page = `${endpoint}/${name.type === 'dataset' ? 'datasets/' : ''}${name.repo}`;
  const code = headers.get('x-error-code') ?? '';
  const kind = name.type === 'dataset' ? 'data set' : 'model';
  if (status === 429) {
    const tip = token ? 'wait a few minutes' : 'set HF_TOKEN, which allows more';
    return new HubError(
      `${shown}: the Hub refuses more requests for now (429); ${tip}, and start again: it resumes`,
    );
  }
  if (status >= 500)
    return new UnreachableError(
      `${shown}: the Hub failed with status ${status}; start again later: it resumes`,
    );
  if (code === 'GatedRepo' || (status === 403 && code !== 'RepoNotFound')) {
    const login = token ? 'with the account of HF_TOKEN' : 'and set HF_TOKEN to a token of that account';
    return new HubError(
      `${shown}: access to this ${kind} is restricted; accept its terms on ${page} ${login}`,
    );
  }
  if (code === 'RevisionNotFound') {
    return new HubError(
      `${shown}: no revision '${name.revision}', expected a branch, a tag or a commit of ${page}`,
    );
  }
  if (code === 'EntryNotFound')
    return new HubError(`${shown}: the Hub no longer has one of its files, see ${page}`);
  // The Hub also answers 401 for a name that it does not have.
  if (status === 401 || status === 404) {
    const secret = token ? 'or the account of HF_TOKEN cannot see it' : 'or it is private: then set HF_TOKEN';
    return new HubError(`${shown}: no ${kind} of this name at ${endpoint}, ${secret}`);
  }
  return new HubError(
    `${shown}: the Hub refused the request with status ${status}${code && ` (${code})`}, see ${page}`,
  );
}
