import { statSync } from 'node:fs';
import { resolve, sep } from 'node:path';
import { glob, isDynamicPattern } from 'tinyglobby';
import { DatasetError } from './errors.ts';
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
 * `part-2` precedes `part-10` on every machine. A file named twice is taken once.
 */
export async function resolveFiles(patterns: string | readonly string[]): Promise<SourceFile[]> {
  const files = new Map<string, SourceFile>();
  const list = typeof patterns === 'string' ? [patterns] : patterns;
  if (list.length === 0) throw new DatasetError('files: no files given; name at least one path or glob');
  for (const pattern of list) {
    for (const path of await expand(pattern)) {
      if (files.has(path)) continue;
      files.set(path, { path, named: formatOfName(path), size: statSync(path).size });
    }
  }
  return [...files.values()];
}

async function expand(pattern: string): Promise<string[]> {
  // An existing path wins over its reading as a glob: names such as `data [v1].txt` are common.
  const stats = statSync(pattern, { throwIfNoEntry: false });
  if (stats?.isDirectory()) {
    throw new DatasetError(`files: ${pattern} is a folder; name its files, as in ${pattern}/**/*.jsonl`);
  }
  if (stats) return [resolve(pattern)];
  if (!isDynamicPattern(pattern)) throw new DatasetError(`files: no such file ${pattern}`);
  const portable = sep === '\\' ? pattern.replaceAll('\\', '/') : pattern;
  const matches = await glob(portable, { absolute: true, expandDirectories: false });
  if (matches.length === 0) {
    throw new DatasetError(`files: nothing matches ${pattern} (looked from ${process.cwd()})`);
  }
  return matches.map((match) => resolve(match)).sort(compareNaturally);
}

/** Order by code units, except that runs of digits compare by their value. */
export function compareNaturally(a: string, b: string): number {
  const left = a.match(/\d+|\D+/g) ?? [];
  const right = b.match(/\d+|\D+/g) ?? [];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const numeric = Number(left[i]) - Number(right[i]);
    if (numeric !== 0 && !Number.isNaN(numeric)) return numeric;
    if (left[i] !== right[i]) return left[i] < right[i] ? -1 : 1;
  }
  return left.length - right.length;
}
