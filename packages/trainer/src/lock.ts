import { execFileSync } from 'node:child_process';
import { constants, copyFileSync, linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { makeDirectory } from '@meap/safetensors';
import { RunLockedError, TrainerError } from './errors.ts';

interface Holder {
  pid: number;
  /** When that process started, so that a reused pid is not taken for it; null where it cannot be told. */
  started: string | null;
  host: string;
}

/**
 * Makes a run directory and takes `run.lock` in it, or throws RunLockedError naming the process that holds it.
 *
 * A lock whose process is gone (kill -9, power loss) is taken over. A lock of another host cannot be judged and is
 * respected. Returns the function that releases it.
 */
export function acquireLock(directory: string): () => void {
  try {
    makeDirectory(directory);
    const path = join(directory, 'run.lock');
    takeLock(path);
    return () => rmSync(path, { force: true });
  } catch (error) {
    if (error instanceof TrainerError) throw error;
    const message = `train: the run directory ${directory} cannot be used: ${(error as Error).message}`;
    throw new TrainerError(message, { cause: error });
  }
}

function takeLock(path: string): void {
  const own = `${path}.${process.pid}`;
  const holder: Holder = { pid: process.pid, started: startTime(process.pid), host: hostname() };
  try {
    writeFileSync(own, JSON.stringify(holder));
    // A link appears whole or not at all; a created file could be read while still empty.
    if (tryLink(own, path)) return;
    const found = readFileSync(path, 'utf8');
    if (isAlive(found)) throw lockedError(path, found);
    const stale = `${path}.${process.pid}.stale`;
    renameSync(path, stale);
    const taken = readFileSync(stale, 'utf8');
    // Another process may have taken the stale lock over between our look and our rename.
    if (taken !== found) tryLink(stale, path);
    rmSync(stale);
    if (taken !== found || !tryLink(own, path)) throw lockedError(path, taken);
  } finally {
    rmSync(own, { force: true });
  }
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    // File systems without hard links, such as exFAT and some network mounts.
    try {
      copyFileSync(from, to, constants.COPYFILE_EXCL);
      return true;
    } catch (copyError) {
      if ((copyError as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw copyError;
    }
  }
}

function parseHolder(text: string): Holder | undefined {
  try {
    return JSON.parse(text) as Holder;
  } catch {
    return undefined;
  }
}

function isAlive(text: string): boolean {
  const holder = parseHolder(text);
  if (!holder) return false;
  if (holder.host !== hostname()) return true;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  return holder.started === null || startTime(holder.pid) === holder.started;
}

function lockedError(path: string, text: string): RunLockedError {
  const holder = parseHolder(text);
  return new RunLockedError(
    `train: ${path} is held by process ${holder?.pid} on ${holder?.host}, expected no other run in this folder: ` +
      'wait for it, choose another folder, or delete the file if that process is gone',
  );
}

function startTime(pid: number): string | null {
  try {
    if (process.platform === 'linux') {
      // Fields 3 and 22, counted after the parenthesised command name, which may hold spaces: state, and ticks
      // from boot to start. A killed process stays as a zombie until its parent asks after it.
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
      if (fields[0] === 'Z' || fields[0] === 'X') return null;
      return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}:${fields[19]}`;
    }
    if (process.platform === 'win32') return null;
    return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return null;
  }
}
