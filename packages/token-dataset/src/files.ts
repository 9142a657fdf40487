import { type Dirent, readdir, realpath, realpathSync, type Stats, stat, statSync } from 'node:fs';
import { resolve, sep } from 'node:path';
import { escapePath, type FileSystemAdapter, glob, isDynamicPattern } from 'tinyglobby';
import { DatasetError, reasonOf } from './errors.ts';
import { type FileFormat, formatOfName } from './formats.ts';

export interface SourceFile {
  readonly path: string;
  /** The format that the name promises; see `detectFormat` for what the content has to say. */
  readonly named: FileFormat | undefined;
  /** Size on disk in bytes. */
  readonly size: number;
}

/**
 * The files that a list of paths and globs names, in a stable order.
 *
 * Patterns keep their order; the matches of one pattern are sorted with numbers by value, so that
 * `part-2` precedes `part-10` on every machine. A file that is named twice, by overlapping patterns or through links, is
 * taken once.
 *
 * @param onRepeated hears of each other name of a file that has one already
 * @throws DatasetError for a pattern that matches nothing, what is no regular file, and what cannot be looked at, such
 *   as a folder without permission or a link that leads nowhere
 */
export async function resolveFiles(
  patterns: string | readonly string[],
  onRepeated?: (path: string) => void,
): Promise<SourceFile[]> {
  // By real path: a link in a folder may lead to the same file, or to a folder above it.
  const files = new Map<string, SourceFile>();
  const list = typeof patterns === 'string' ? [patterns] : patterns;
  if (list.length === 0) throw new DatasetError('files: no files given; name at least one path or glob');
  for (const pattern of list) {
    const names = new Set(await expand(pattern));
    for (const path of names) {
      const { size } = requireFile(path, lookAt(path));
      const real = lookAt(path, () => realpathSync.native(path));
      // The name without links is what decides its place, where the pattern matches that too.
      if (files.has(real) || (real !== path && names.has(real))) onRepeated?.(path);
      else files.set(real, { path, named: formatOfName(path), size });
    }
  }
  return [...files.values()];
}

async function expand(pattern: string): Promise<string[]> {
  // An existing path wins over its reading as a glob: names such as `data [v1].txt` are common.
  const stats = lookAt(pattern, () => statSync(pattern, { throwIfNoEntry: false }));
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
        ? `files: ${pattern} matches folders alone; name their files, as in ${pattern}/**/*`
        : `files: nothing matches ${pattern} (looked from ${process.cwd()})`,
    );
  }
  return sortNaturally(matches.map((match) => resolve(match)));
}

/** A pattern whose first folders are taken as written where they exist, such as `project (copy)/*.jsonl`. */
function literalStart(pattern: string): string {
  const parts = pattern.split('/');
  let depth = parts.length - 1;
  while (depth > 0 && !statSync(parts.slice(0, depth).join('/') || '/', { throwIfNoEntry: false })) depth--;
  return [...parts.slice(0, depth).map((part) => escapePath(part)), ...parts.slice(depth)].join('/');
}

/**
 * A file system in which a glob overlooks nothing: what is no regular file, and links that lead nowhere, are found by
 * their names like others, and folders that cannot be read are collected.
 */
function visible(unread: Error[]): FileSystemAdapter {
  const nothing = { isDirectory: () => false } as Stats;
  return {
    readdir: ((path: string, options: { withFileTypes: true }, done: (e: null, entries: Dirent[]) => void) =>
      readdir(path, options, (error, entries = []) => {
        // A pattern below a folder that is not there matches nothing, which is told by itself.
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

/** What the system says of a path, its refusals as one of our errors. */
function lookAt<T = Stats>(path: string, look: () => T = () => statSync(path) as T): T {
  try {
    return look();
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
  throw new DatasetError(`files: ${path} is ${what}, expected a file, which is read more than once`);
}

/** Order by code units, except that runs of digits compare by their value. */
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
