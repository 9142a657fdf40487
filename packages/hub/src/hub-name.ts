import { HubError } from './errors.ts';

/** A repository of the Hub at a revision, and what is meant in it. */
export interface HubName {
  type: 'model' | 'dataset';
  /** `owner/name`, or `name` for a few old repositories. */
  repo: string;
  /** A branch, a tag or a commit. */
  revision: string;
  /** A file, a folder or a glob; empty for the whole repository. */
  path: string;
}

const SCHEME = 'hf://';
/** Revisions whose slashes need no `%2F`. */
const SPECIAL = /^refs\/(?:pr\/\d+|convert\/[\w-]+)$/;
const PART = /^(?!.*(?:--|\.\.))\w(?:[\w.-]*\w)?$/;

/** Whether a text is the address of something on the Hub, `hf://…`. */
export function isHubAddress(text: string): boolean {
  return text.startsWith(SCHEME);
}

/** Returns the address of a model given as `owner/name` or `owner/name@revision`; undefined for any other text. */
export function modelAddress(text: string): string | undefined {
  const [, owner, name] = /^([^/@]+)\/([^/@]+)(?:@[^@]+)?$/.exec(text) ?? [];
  return owner !== undefined && PART.test(owner) && PART.test(name) ? `${SCHEME}${text}` : undefined;
}

/**
 * Parses an address in the syntax of Python's `huggingface_hub`: `hf://[datasets/]OWNER/NAME[@REVISION][/PATH]`. A slash
 * in a revision is written `%2F`, except in `refs/pr/1` and `refs/convert/parquet`.
 *
 * @throws HubError for any other text, and for a space, which has no data
 */
export function parseHubAddress(text: string): HubName {
  const refuse = (got: string): never => {
    throw new HubError(
      `${text}: ${got}, expected hf://OWNER/NAME for a model or hf://datasets/OWNER/NAME/FILES for data, ` +
        'with @REVISION after the name if wanted',
    );
  };
  if (!isHubAddress(text)) return refuse('not an address on the Hub');
  const parts = text.slice(SCHEME.length).split('/');
  const kind = /^(models|datasets|spaces|buckets)$/.exec(parts[0])?.[0];
  if (kind !== undefined) parts.shift();
  if (kind === 'spaces' || kind === 'buckets') return refuse(`got one of the ${kind}`);
  // A repository without an owner is a model from before there were owners, such as gpt2.
  const count = parts.length === 1 || parts[0].includes('@') ? 1 : 2;
  const [name, ...revisions] = parts.slice(0, count).join('/').split('@');
  let path = parts.slice(count).join('/');
  if (revisions.length > 1) return refuse('got two revisions');
  let revision = decodeURIComponent(revisions[0] ?? 'main');
  if (revision === 'refs') {
    const special = /^(?:pr\/\d+|convert\/[\w-]+)(?=\/|$)/.exec(path)?.[0];
    if (special === undefined) return refuse('got an incomplete revision');
    revision = `refs/${special}`;
    path = path.slice(special.length + 1);
  }
  if (revision === '') return refuse('got no revision after @');
  const names = name.split('/');
  if (!names.every((part) => PART.test(part))) return refuse(`'${name}' is not a name`);
  if (path.split('/').includes('..')) return refuse(`'${path}' leaves the repository`);
  return { type: kind === 'datasets' ? 'dataset' : 'model', repo: name, revision, path };
}

/** Returns the address of a name. */
export function hubAddress({ type, repo, revision, path }: HubName): string {
  const kind = type === 'dataset' ? 'datasets/' : '';
  const shown = SPECIAL.test(revision) ? revision : encodeURIComponent(revision);
  return `${SCHEME}${kind}${repo}@${shown}${path && `/${path}`}`;
}

/** The name in messages: `datasets/OWNER/NAME@REVISION`, without the usual revision `main`. */
export function showName({ type, repo, revision }: HubName): string {
  return `${type === 'dataset' ? 'datasets/' : ''}${repo}${revision === 'main' ? '' : `@${revision}`}`;
}
