import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { guard } from './append-file.ts';
import { type Journal, readJournal } from './journal.ts';

/** Folders of this process; its id alone would also match a killed predecessor in a container. */
const active = new Set<string>();

/** Folders of other machines count as abandoned after this time without a write. */
const SILENT_MS = 10 * 60 * 1000;
const BEAT_MS = 30 * 1000;

/** The working folder of a preparation, with the journal of an interrupted one. */
export interface WorkingFolder {
  readonly path: string;
  readonly journal: Journal | undefined;
  /** Shows other machines that the folder is in use; writes at most twice a minute. */
  beat(): void;
}

/**
 * Opens a hidden working folder inside `directory`: that of the interrupted preparation with the most progress, or a new
 * one.
 */
export function openTemporary(directory: string): WorkingFolder {
  const name = `.tmp-${processNamespace()}-${process.pid}-${randomBytes(4).toString('hex')}`;
  const path = join(directory, name);
  const left = abandoned(directory)
    .map((folder) => ({ folder, journal: readJournal(folder) }))
    .filter(({ journal }) => journal !== undefined)
    .sort((a, b) => progressOf(b.journal!) - progressOf(a.journal!));
  // If several processes want a folder, one of them succeeds in renaming it.
  const taken = left.find(({ folder }) => tryRename(folder, path));
  if (!taken) guard(path, () => mkdirSync(path));
  active.add(path);
  let last = Number.NEGATIVE_INFINITY;
  const beat = () => {
    const now = performance.now();
    if (now - last < BEAT_MS) return;
    last = now;
    try {
      utimesSync(path, new Date(), new Date());
    } catch {
      // Only other machines read the time.
    }
  };
  beat();
  return { path, journal: taken?.journal, beat };
}

function progressOf({ sources, writing }: Journal): number {
  return writing ? writing.bytesRead + 1 : -1 / (sources.length + 1);
}

function tryRename(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch {
    return false;
  }
}

/**
 * Renames a finished folder to its final name, which is derived from its contents: a folder with that name is the same
 * dataset, from another process or one that was interrupted just after this step.
 *
 * @param damaged whether a folder with that name is damaged and has to be replaced
 */
export function putInPlace(temporary: string, target: string, damaged: boolean): void {
  if (damaged) rmSync(target, { recursive: true, force: true });
  guard(target, () => {
    try {
      renameSync(temporary, target);
    } catch (error) {
      if (!existsSync(target)) throw error;
    }
  });
}

/** Removes a working folder, or keeps it for the next preparation. */
export function closeTemporary(path: string, { keep }: { keep: boolean }): void {
  active.delete(path);
  if (!keep) rmSync(path, { recursive: true, force: true });
}

/** Removes the working folders of preparations that no longer run. */
export function removeStale(directory: string): void {
  for (const path of abandoned(directory)) rmSync(path, { recursive: true, force: true });
}

/** Working folders of preparations that no longer run. */
function abandoned(directory: string): string[] {
  const isAbandoned = (name: string) => {
    const parts = /^\.tmp-(.*)-(\d+)-[0-9a-f]{8}$/.exec(name);
    const path = join(directory, name);
    if (!parts) return false;
    if (parts[1] === processNamespace()) return !isRunning(Number(parts[2]), path);
    // The processes of other machines and containers that share the folder are not visible here.
    const { mtimeMs = 0 } = statSync(path, { throwIfNoEntry: false }) ?? {};
    return Date.now() - mtimeMs > SILENT_MS;
  };
  return readdirSync(directory)
    .filter(isAbandoned)
    .map((name) => join(directory, name));
}

/**
 * Identifies the scope of process ids: this PID namespace of this boot. Two containers can share a host name, which is
 * only the fallback.
 */
export function processNamespace(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8');
    return createHash('sha256')
      .update(`${boot} ${readlinkSync('/proc/self/ns/pid')}`)
      .digest('hex')
      .slice(0, 12);
  } catch {
    return hostname();
  }
}

function isRunning(pid: number, path: string): boolean {
  if (pid === process.pid) return active.has(path);
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Removes the shards of datasets that are no longer in the manifest. */
export function removeOtherDatasets(directory: string, current: string): void {
  for (const name of readdirSync(directory)) {
    if (/^[0-9a-f]{16}$/.test(name) && name !== current) {
      rmSync(join(directory, name), { recursive: true, force: true });
    }
  }
}
