/** `data-files.json` of a run: which files it read, so that a later part of it can say what has changed. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from '@meap/files';

/** A file that a run reads. */
export interface DataFile {
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

const NAME = 'data-files.json';

/** Writes the list of a run's files. */
export function writeFileList(out: string, files: readonly DataFile[]): void {
  writeFileAtomic(join(out, NAME), `${JSON.stringify(files, null, 1)}\n`);
}

/** One line for each file that is not what it was when the run began, such as `a.txt: 10 bytes → 12 bytes`. */
export function changedFiles(out: string, files: readonly DataFile[]): string[] {
  const before = readFileList(out);
  if (!before) return [];
  const old = new Map(before.map((file) => [file.path, file]));
  const now = new Map(files.map((file) => [file.path, file]));
  const show = (file: DataFile | undefined) =>
    file ? `${file.size.toLocaleString('en')} bytes` : 'not there';
  const changes = [...new Set([...old.keys(), ...now.keys()])]
    .filter((path) => old.get(path)?.sha256 !== now.get(path)?.sha256)
    .map((path) => {
      const [was, is] = [show(old.get(path)), show(now.get(path))];
      return `${path}: ${was} → ${is}${was === is ? ', with another content' : ''}`;
    });
  const order = (list: readonly DataFile[]) => list.map(({ path }) => path).join('\n');
  if (changes.length === 0 && order(before) !== order(files)) changes.push('the order of the files');
  return changes;
}

/** What to say of files left out because they are others by another name: a link, or named by two patterns. */
export function describeRepeated(paths: readonly string[]): string {
  const names = paths.length === 1 ? 'file is' : 'files are';
  return `data: ${paths.length} ${names} left out, being read already by another name: ${paths[0]}${paths.length > 1 ? ', …' : ''}`;
}

function readFileList(out: string): DataFile[] | undefined {
  const path = join(out, NAME);
  if (!existsSync(path)) return undefined;
  try {
    const files: unknown = JSON.parse(readFileSync(path, 'utf8'));
    // Only what says which file and what was in it can be compared.
    return Array.isArray(files) && files.every(isDataFile) ? files : undefined;
  } catch {
    // Written by hand or cut off: what it would only say is no reason to stop.
    return undefined;
  }
}

function isDataFile(value: unknown): value is DataFile {
  const { path, size, sha256 } = (value ?? {}) as Partial<DataFile>;
  return typeof path === 'string' && typeof size === 'number' && typeof sha256 === 'string';
}
