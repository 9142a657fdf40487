/** Creates a project atomically, in a temporary folder that is renamed. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { PackageManager } from './package-manager.ts';
import { manifest, readme } from './project-files.ts';

/** A project that cannot be created. */
export class CreateError extends Error {
  override readonly name = 'CreateError';
}

/** Options of {@link createProject}. */
export interface CreateOptions {
  version: string;
  /** The package manager of the commands in its README. */
  manager: PackageManager;
}

/** A created project. */
export interface Project {
  /** Absolute path. */
  folder: string;
  /** Sorted names of its files. */
  files: readonly string[];
}

/** Package names that the registry does not allow. */
const RESERVED = ['node_modules', 'favicon.ico'];

/**
 * Creates a project in a new folder, or one that is empty except for `.git`. The name of the folder is the package name.
 *
 * @throws CreateError if the folder is not empty or cannot be written, or its name is not a valid package name
 */
export function createProject(path: string, { version, manager }: CreateOptions): Project {
  const folder = resolve(path);
  const name = basename(folder);
  requirePackageName(name);
  const exists = requireEmpty(path, folder);
  const template = fileURLToPath(new URL('../template', import.meta.url));
  const parent = dirname(folder);
  // On the same disk, so that it can be renamed. An existing folder is kept, since it may be a working directory.
  const base = exists ? folder : parent;
  const written: string[] = [];
  const parents: string[] = [];
  try {
    for (const missing of missingFolders(parent)) {
      mkdirSync(missing);
      parents.push(missing);
    }
    const temporary = mkdtempSync(join(base, '.create-meap-'));
    written.push(temporary);
    // A subfolder, because mkdtemp's folder has restricted permissions.
    const staged = join(temporary, 'project');
    mkdirSync(staged);
    cpSync(template, staged, { recursive: true });
    // npm does not publish .gitignore files.
    renameSync(join(staged, 'gitignore'), join(staged, '.gitignore'));
    writeFileSync(join(staged, 'package.json'), manifest(name, version));
    writeFileSync(join(staged, 'README.md'), readme(name, manager));
    const files = readdirSync(staged).sort();
    if (!exists) renameSync(staged, folder);
    else {
      for (const file of files) {
        renameSync(join(staged, file), join(folder, file));
        written.push(join(folder, file));
      }
    }
    rmSync(temporary, { recursive: true });
    return { folder, files };
  } catch (error) {
    for (const path of written) rmSync(path, { recursive: true, force: true });
    for (const empty of parents.reverse()) rmdirSync(empty);
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new CreateError(`${path}: cannot be created: ${message}; all changes were undone`);
  }
}

/** Returns the missing parent folders, outermost first; mkdirSync with `recursive` does not return in /proc. */
function missingFolders(folder: string): string[] {
  return existsSync(folder) ? [] : [...missingFolders(dirname(folder)), folder];
}

/** Returns whether the folder exists; throws if it is not empty. */
function requireEmpty(path: string, folder: string): boolean {
  let names: string[];
  try {
    names = readdirSync(folder).filter((name) => name !== '.git');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return false;
    const reason = code === 'ENOTDIR' ? 'is a file, or in a file' : message;
    throw new CreateError(`${path}: ${reason}, expected an empty or new folder; choose another name`);
  }
  if (names.length === 0) return true;
  const shown = names.sort().slice(0, 5).join(', ') + (names.length > 5 ? ', …' : '');
  throw new CreateError(
    `${path}: the folder is not empty, got ${shown}, expected an empty or new folder; choose another name`,
  );
}

function requirePackageName(name: string): void {
  const isValid = /^[a-z0-9][a-z0-9~._-]*$/.test(name) && name.length <= 214 && !RESERVED.includes(name);
  if (isValid) return;
  const suggestion = name
    .toLowerCase()
    .replace(/[^a-z0-9~._-]+/g, '-')
    .replace(/^[~._-]+|-+$/g, '');
  const hint =
    suggestion !== '' && suggestion !== name && !RESERVED.includes(suggestion)
      ? `, such as ${suggestion.slice(0, 214)}`
      : '';
  throw new CreateError(
    `package name: got ${JSON.stringify(name)}, expected at most 214 lower-case letters, digits, '-', '.' and '_', starting with a ` +
      `letter or digit; choose another name${hint}`,
  );
}
