import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { PluginError } from './errors.ts';
import type { IndexFile } from './wheels.ts';

/** Returns the address of the package index as pip's environment and configuration files set it. */
export function pipIndexUrl(): string {
  const { PIP_INDEX_URL, PIP_CONFIG_FILE, VIRTUAL_ENV, XDG_CONFIG_HOME } = process.env;
  if (PIP_INDEX_URL) return PIP_INDEX_URL;
  const files = [
    PIP_CONFIG_FILE,
    VIRTUAL_ENV && join(VIRTUAL_ENV, 'pip.conf'),
    join(XDG_CONFIG_HOME || join(homedir(), '.config'), 'pip', 'pip.conf'),
    join(homedir(), '.pip', 'pip.conf'),
    '/etc/pip.conf',
  ];
  for (const file of files) {
    const url = file && existsSync(file) ? indexUrlIn(readFileSync(file, 'utf8')) : undefined;
    if (url) return url;
  }
  return 'https://pypi.org/simple/';
}

/** Returns `index-url` of the section `install`, else `global`. */
function indexUrlIn(text: string): string | undefined {
  const found: Record<string, string> = {};
  let section = '';
  for (const line of text.split(/\r?\n/)) {
    section = /^\[(.*)\]/.exec(line)?.[1] ?? section;
    const url = /^index[-_]url\s*[=:]\s*(\S+)/.exec(line)?.[1];
    if (url) found[section] = url;
  }
  return found.install ?? found.global;
}

/** Fetches from an index; a name and a password in the address are sent as basic authentication. */
export async function fetchFrom(
  address: string | URL,
  headers: Record<string, string> = {},
): Promise<Response> {
  const url = new URL(address);
  const { username, password } = url;
  const shown = `${url.origin}${url.pathname}`;
  url.username = '';
  url.password = '';
  const credentials = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`);
  const authorization: Record<string, string> = username
    ? { Authorization: `Basic ${credentials.toString('base64')}` }
    : {};
  let response: Response;
  try {
    response = await fetch(url, { headers: { ...headers, ...authorization } });
  } catch (cause) {
    const reason = ((cause as Error).cause as Error | undefined)?.message ?? (cause as Error).message;
    throw new PluginError('UNAVAILABLE', `install: ${shown}: ${reason}; PIP_INDEX_URL sets another index`, {
      cause,
    });
  }
  if (!response.ok) throw new PluginError('UNAVAILABLE', `install: ${shown}: HTTP status ${response.status}`);
  return response;
}

/** Returns the files of a project, with absolute addresses (PEP 691). */
export async function projectFiles(index: string, project: string): Promise<IndexFile[]> {
  const page = new URL(`${project}/`, index.endsWith('/') ? index : `${index}/`);
  const response = await fetchFrom(page, { Accept: 'application/vnd.pypi.simple.v1+json' });
  const type = response.headers.get('content-type') ?? '';
  if (!type.includes('json')) {
    throw new PluginError(
      'UNIMPLEMENTED',
      `install: ${page.origin}${page.pathname}: got ${type}, expected JSON (PEP 691); PIP_INDEX_URL sets another index`,
    );
  }
  const { files } = (await response.json()) as { files: IndexFile[] };
  return files.map((file) => {
    const url = new URL(file.url, page);
    // Files of the index's own host need its credentials too.
    if (url.host === page.host) {
      url.username = page.username;
      url.password = page.password;
    }
    return { ...file, url: url.href };
  });
}
