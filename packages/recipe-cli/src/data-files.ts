/** `data-files.json` of a run lists the files it read, so that a resumed run can report changes. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { counted } from '@meap/dashboard';
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

/** Describes each file that changed since the run began, such as `a.txt: 10 bytes → 12 bytes`. */
export function changedFiles(out: string, files: readonly DataFile[]): string[] {
  const before = readFileList(out);
  if (!before) return [];
  const old = new Map(before.map((file) => [file.path, file]));
  const now = new Map(files.map((file) => [file.path, file]));
  const show = (file: DataFile | undefined) => (file ? `${file.size.toLocaleString('en')} bytes` : 'missing');
  const changes = [...new Set([...old.keys(), ...now.keys()])]
    .filter((path) => old.get(path)?.sha256 !== now.get(path)?.sha256)
    .map((path) => {
      const [was, is] = [show(old.get(path)), show(now.get(path))];
      return `${path}: ${was} → ${is}${was === is ? ', different content' : ''}`;
    });
  const order = (list: readonly DataFile[]) => list.map(({ path }) => path).join('\n');
  if (changes.length === 0 && order(before) !== order(files)) changes.push('the order of the files');
  return changes;
}

/** Describes files that are skipped because another path, a link or a second pattern, names the same file. */
export function describeRepeated(paths: readonly string[]): string {
  const more = paths.length > 1 ? ', …' : '';
  return `data: ${counted(paths.length, 'file')} skipped, already read under another name: ${paths[0]}${more}`;
}

function readFileList(out: string): DataFile[] | undefined {
  const path = join(out, NAME);
  if (!existsSync(path)) return undefined;
  try {
    const files: unknown = JSON.parse(readFileSync(path, 'utf8'));
    return Array.isArray(files) && files.every(isDataFile) ? files : undefined;
  } catch {
    // A damaged list only loses a warning.
    return undefined;
  }
}

function isDataFile(value: unknown): value is DataFile {
  const { path, size, sha256 } = (value ?? {}) as Partial<DataFile>;
  return typeof path === 'string' && typeof size === 'number' && typeof sha256 === 'string';
}
