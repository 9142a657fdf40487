import { type Dirent, readdir, realpath, realpathSync, type Stats, stat, statSync } from 'node:fs';
import { resolve, sep } from 'node:path';
import { escapePath, type FileSystemAdapter, glob, isDynamicPattern } from 'tinyglobby';
import { DatasetError, reasonOf } from './errors.ts';
import { type FileFormat, formatOfName } from './formats.ts';

/** A file that is fetched when it is read. */
export interface RemoteFile {
  /** Address, which takes the place of a path; its end names the format. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  readonly sha256: string;
  /**
   * Fetches the file and returns its path. In `folder` it is deleted after it was read; a part of an earlier process may
   * be there. Elsewhere, as in a cache that has the file, it stays.
   */
  fetch(folder: string, signal: AbortSignal): Promise<string>;
}

export interface SourceFile {
  readonly path: string;
  /** The format that the name suggests; `detectFormat` also reads the content. */
  readonly named: FileFormat | undefined;
  /** Size on disk in bytes. */
  readonly size: number;
  /** Set for a file that is elsewhere until it is read. */
  readonly remote?: RemoteFile;
  /** Where the content is, if not at `path`. */
  readonly at?: string;
}

/**
 * Finds the files of a list of paths, globs and remote files, in a stable order.
 *
 * Patterns keep their order; the matches of one pattern are sorted with numbers by value, so that `part-2` precedes
 * `part-10` on every machine. A file that is matched twice, by overlapping patterns or through links, is listed once.
 *
 * @param onRepeated called with every other name of a file that is already listed
 * @throws DatasetError for a pattern without matches, a match that is not a regular file, and anything that cannot be
 *   read, such as a folder without permission or a dangling link
 */
export async function resolveFiles(
  patterns: string | readonly (string | RemoteFile)[],
  onRepeated?: (path: string) => void,
): Promise<SourceFile[]> {
  // Keyed by real path: a link may lead to the same file, or to a folder above it.
  const files = new Map<string, SourceFile>();
  const list = typeof patterns === 'string' ? [patterns] : patterns;
  if (list.length === 0) throw new DatasetError('files: no files given; name at least one path or glob');
  for (const pattern of list) {
    if (typeof pattern !== 'string') {
      const { path, size } = pattern;
      if (files.has(path)) onRepeated?.(path);
      else files.set(path, { path, named: formatOfName(path), size, remote: pattern });
      continue;
    }
    const names = new Set(await expand(pattern));
    for (const path of names) {
      const { size } = requireFile(path, inspect(path));
      const real = inspect(path, () => realpathSync.native(path));
      // If the pattern also matches the name without links, that name decides the order.
      if (files.has(real) || (real !== path && names.has(real))) onRepeated?.(path);
      else files.set(real, { path, named: formatOfName(path), size });
    }
  }
  return [...files.values()];
}

async function expand(pattern: string): Promise<string[]> {
  // An existing path takes precedence over a glob: names such as `data [v1].txt` are common.
  const stats = inspect(pattern, () => statSync(pattern, { throwIfNoEntry: false }));
  if (stats) {
    requireFile(pattern, stats);
    return [resolve(pattern)];
  }
  if (!isDynamicPattern(pattern)) throw new DatasetError(`files: no such file ${pattern || "''"}`);
  const portable = literalStart(sep === '\\' ? pattern.replaceAll('\\', '/') : pattern);
  const unread: Error[] = [];
  const options = { absolute: true, expandDirectories: false, fs: visible(unread) };
  const matches = await glob(portable, options);
  if (unread.length > 0) throw new DatasetError(`files: ${pattern}: ${reasonOf(unread[0])}`);
  if (matches.length === 0) {
    const [folder] = await glob(portable, { ...options, onlyDirectories: true });
    throw new DatasetError(
      folder
        ? `files: ${pattern} matches only folders; name their files, as in ${pattern}/**/*`
        : `files: nothing matches ${pattern} (searched from ${process.cwd()})`,
    );
  }
  return sortNaturally(matches.map((match) => resolve(match)));
}

/** Escapes the leading folders of a pattern that exist, such as `project (copy)` in `project (copy)/*.jsonl`. */
function literalStart(pattern: string): string {
  const parts = pattern.split('/');
  let depth = parts.length - 1;
  while (depth > 0 && !statSync(parts.slice(0, depth).join('/') || '/', { throwIfNoEntry: false })) depth--;
  return [...parts.slice(0, depth).map((part) => escapePath(part)), ...parts.slice(depth)].join('/');
}

/**
 * A file system for globs that skips nothing: irregular files and dangling links match by name like others, and the
 * errors of unreadable folders are collected.
 */
function visible(unread: Error[]): FileSystemAdapter {
  const nothing = { isDirectory: () => false } as Stats;
  return {
    readdir: ((path: string, options: { withFileTypes: true }, done: (e: null, entries: Dirent[]) => void) =>
      readdir(path, options, (error, entries = []) => {
        // A pattern below a missing folder matches nothing, which is reported separately.
        if (error && error.code !== 'ENOENT' && error.code !== 'ENOTDIR') unread.push(error);
        for (const entry of entries) {
          if (!entry.isDirectory() && !entry.isSymbolicLink()) entry.isFile = () => true;
        }
        done(null, entries);
      })) as typeof readdir,
    realpath: ((path: string, done: (e: null, real: string) => void) =>
      realpath(path, (error, real) => done(null, error ? path : real))) as typeof realpath,
    stat: ((path: string, done: (e: null, stats: Stats) => void) =>
      stat(path, (error, stats) => done(null, error ? nothing : stats))) as typeof stat,
  };
}

/** Runs a file system call on a path; its failure becomes a DatasetError. */
function inspect<T = Stats>(path: string, call: () => T = () => statSync(path) as T): T {
  try {
    return call();
  } catch (error) {
    throw new DatasetError(`files: ${path.replaceAll('\0', '\\0')} cannot be read: ${reasonOf(error)}`);
  }
}

function requireFile(path: string, stats: Stats): Stats {
  if (stats.isFile()) return stats;
  if (stats.isDirectory()) {
    throw new DatasetError(`files: ${path} is a folder; name its files, as in ${path}/**/*.jsonl`);
  }
  const what = stats.isFIFO() ? 'a pipe' : stats.isSocket() ? 'a socket' : 'a device';
  throw new DatasetError(`files: ${path} is ${what}, expected a file, which can be read more than once`);
}

/** Compares by code units, except that runs of digits compare by value. */
export function compareNaturally(a: string, b: string): number {
  return compareParts(partsOf(a), partsOf(b));
}

function sortNaturally(paths: readonly string[]): string[] {
  const keyed = paths.map((path) => ({ path, parts: partsOf(path) }));
  return keyed.sort((a, b) => compareParts(a.parts, b.parts)).map(({ path }) => path);
}

function partsOf(path: string): string[] {
  return path.match(/\d+|\D+/g) ?? [];
}

function compareParts(left: readonly string[], right: readonly string[]): number {
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    if (left[i] === right[i]) continue;
    const numeric = Number(left[i]) - Number(right[i]);
    if (numeric !== 0 && !Number.isNaN(numeric)) return numeric;
    return left[i] < right[i] ? -1 : 1;
  }
  return left.length - right.length;
}
