/** Writes a project: to a temporary folder first, so that there is a whole one or none. */
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

/** A project that cannot be made; the message says what to do about it. */
export class CreateError extends Error {
  override readonly name = 'CreateError';
}

/** What a project is made for. */
export interface CreateOptions {
  /** Of the packages it depends on. */
  version: string;
  /** Its README has the commands of this one. */
  manager: PackageManager;
}

/** What was made. */
export interface Project {
  /** The folder, absolute. */
  folder: string;
  /** Names in it, in order. */
  files: readonly string[];
}

/** Of the registry: what a package may not be called. */
const RESERVED = ['node_modules', 'favicon.ico'];

/**
 * Makes a project in a folder that is not there, or is empty but for `.git`. Its last part names the package.
 *
 * @throws CreateError for a folder with something in it, a name no package may have, a folder that cannot be written
 */
export function createProject(path: string, { version, manager }: CreateOptions): Project {
  const folder = resolve(path);
  const name = basename(folder);
  requirePackageName(name);
  const isThere = requireEmpty(path, folder);
  const template = fileURLToPath(new URL('../template', import.meta.url));
  const parent = dirname(folder);
  // On the same disk, or a rename would be a copy. A folder that is there stays: a shell may stand in it.
  const place = isThere ? folder : parent;
  const written: string[] = [];
  const parents: string[] = [];
  try {
    for (const missing of missingFolders(parent)) {
      mkdirSync(missing);
      parents.push(missing);
    }
    const temporary = mkdtempSync(join(place, '.create-meap-'));
    written.push(temporary);
    // Its own folder is for its user alone; those in it are made as all others are.
    const staged = join(temporary, 'project');
    mkdirSync(staged);
    cpSync(template, staged, { recursive: true });
    // A package may not hold a .gitignore: npm takes it for the package's own.
    renameSync(join(staged, 'gitignore'), join(staged, '.gitignore'));
    writeFileSync(join(staged, 'package.json'), manifest(name, version));
    writeFileSync(join(staged, 'README.md'), readme(name, manager));
    const files = readdirSync(staged).sort();
    if (!isThere) renameSync(staged, folder);
    else {
      for (const file of files) {
        renameSync(join(staged, file), join(folder, file));
        written.push(join(folder, file));
      }
    }
    rmSync(temporary, { recursive: true });
    return { folder, files };
  } catch (error) {
    for (const left of written) rmSync(left, { recursive: true, force: true });
    for (const empty of parents.reverse()) rmdirSync(empty);
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new CreateError(`${path}: cannot be made: ${message}; nothing was left`);
  }
}

/** Folders to make for one to be there, outermost first: Node's own way of that never ends in a /proc. */
function missingFolders(folder: string): string[] {
  return existsSync(folder) ? [] : [...missingFolders(dirname(folder)), folder];
}

/** Whether the folder is there already. */
function requireEmpty(path: string, folder: string): boolean {
  let names: string[];
  try {
    names = readdirSync(folder).filter((name) => name !== '.git');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return false;
    const reason = code === 'ENOTDIR' ? 'is a file, or in one' : message;
    throw new CreateError(
      `${path}: ${reason}, expected a folder that is empty or not there yet; choose another name`,
    );
  }
  if (names.length === 0) return true;
  const shown = names.sort().slice(0, 5).join(', ') + (names.length > 5 ? ', …' : '');
  throw new CreateError(
    `${path}: the folder is not empty, got ${shown}, expected one that is empty or not there yet; choose another name`,
  );
}

function requirePackageName(name: string): void {
  const isValid = /^[a-z0-9][a-z0-9~._-]*$/.test(name) && name.length <= 214 && !RESERVED.includes(name);
  if (isValid) return;
  const near = name
    .toLowerCase()
    .replace(/[^a-z0-9~._-]+/g, '-')
    .replace(/^[~._-]+|-+$/g, '');
  const hint =
    near !== '' && near !== name && !RESERVED.includes(near) ? `, such as ${near.slice(0, 214)}` : '';
  throw new CreateError(
    `package name: got ${JSON.stringify(name)}, expected small letters, digits, '-', '.' and '_', at most 214, a letter ` +
      `or digit first; name the folder otherwise${hint}`,
  );
}
