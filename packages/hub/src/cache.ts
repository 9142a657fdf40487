/**
 * The cache of Python's `huggingface_hub` (https://huggingface.co/docs/hub/local-cache).
 *
 *     models--OWNER--NAME/refs/REVISION             the commit of a branch or tag
 *     models--OWNER--NAME/snapshots/COMMIT/FILE     a link to the blob
 *     models--OWNER--NAME/blobs/ETAG                the content: named by SHA-256, small files by the hash of git
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, rename, symlink, unlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import { type HubName, hubAddress } from './hub-name.ts';

/** Where a repository is in the cache. */
export function repoFolder(cache: string, { type, repo }: Pick<HubName, 'type' | 'repo'>): string {
  return join(cache, `${type}s--${repo.replaceAll('/', '--')}`);
}

/** The repository and commit of a path in a cache; undefined for any other path. */
export function cachedName(
  path: string,
): { type: HubName['type']; repo: string; commit: string } | undefined {
  const found = /(?:^|\/)(model|dataset)s--([^/]+)\/snapshots\/([0-9a-f]{40})(?:\/|$)/.exec(
    path.replaceAll(sep, '/'),
  );
  if (!found) return undefined;
  const [, type, folder, commit] = found;
  return { type: type as HubName['type'], repo: folder.replaceAll('--', '/'), commit };
}

/** The address of a file in a cache, at its commit; undefined for any other path. */
export function cachedAddress(path: string): string | undefined {
  const name = cachedName(path);
  if (name === undefined) return undefined;
  const unix = path.replaceAll(sep, '/');
  const file = unix.slice(unix.indexOf(`/snapshots/${name.commit}`) + 12 + name.commit.length);
  return hubAddress({ ...name, revision: name.commit, path: file });
}

/** The commit that a branch or tag had when it was fetched; a commit is itself. */
export function cachedCommit(folder: string, revision: string): string | undefined {
  if (isCommit(revision)) return revision;
  try {
    const commit = readFileSync(join(folder, 'refs', ...revision.split('/')), 'utf8').trim();
    return isCommit(commit) ? commit : undefined;
  } catch {
    return undefined;
  }
}

export async function storeCommit(folder: string, revision: string, commit: string): Promise<void> {
  if (isCommit(revision) || cachedCommit(folder, revision) === commit) return;
  const path = join(folder, 'refs', ...revision.split('/'));
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}`;
  await writeFile(temporary, commit);
  await rename(temporary, path);
}

export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}

/** The files of a snapshot whose content is there, with `/` on every system. */
export function cachedFiles(snapshot: string): string[] {
  if (!existsSync(snapshot)) return [];
  const names = readdirSync(snapshot, { recursive: true, withFileTypes: true });
  return names
    .filter((entry) => !entry.isDirectory() && existsSync(join(entry.parentPath, entry.name)))
    .map((entry) => relative(snapshot, join(entry.parentPath, entry.name)).replaceAll(sep, '/'))
    .sort();
}

/** Links a file of a snapshot to its blob; where links are not allowed, as on Windows, moves the blob there. */
export async function linkBlob(blob: string, pointer: string): Promise<void> {
  await mkdir(dirname(pointer), { recursive: true });
  try {
    await symlink(relative(dirname(pointer), blob), pointer);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') {
      if (existsSync(pointer)) return;
      // Its blob was deleted before.
      await unlink(pointer);
      await linkBlob(blob, pointer);
    } else if (code === 'EPERM') await rename(blob, pointer);
    else throw error;
  }
}
