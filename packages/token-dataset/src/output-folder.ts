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

/** Folders being filled by this very process; its id alone would also match a killed predecessor in a container. */
const active = new Set<string>();

/** Folders of other machines count as given up when nothing was written there for so long. */
const SILENT_MS = 10 * 60 * 1000;
const BEAT_MS = 30 * 1000;

/** A folder that a preparation works in, and what a process before it has left there. */
export interface WorkingFolder {
  readonly path: string;
  readonly journal: Journal | undefined;
  /** Tells other machines that work goes on; at most some times a minute. */
  beat(): void;
}

/**
 * A hidden folder to work in, inside `directory`: that of a preparation that was interrupted, the one that had come
 * farthest, or else a new one.
 */
export function openTemporary(directory: string): WorkingFolder {
  const name = `.tmp-${place()}-${process.pid}-${randomBytes(4).toString('hex')}`;
  const path = join(directory, name);
  const left = abandoned(directory)
    .map((folder) => ({ folder, journal: readJournal(folder) }))
    .filter(({ journal }) => journal !== undefined)
    .sort((a, b) => reached(b.journal!) - reached(a.journal!));
  // Of several processes that want a folder, one succeeds in giving it another name.
  const taken = left.find(({ folder }) => renamed(folder, path));
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
      // Only other machines would have read it.
    }
  };
  beat();
  return { path, journal: taken?.journal, beat };
}

function reached({ sources, writing }: Journal): number {
  return writing ? writing.bytesRead + 1 : -1 / (sources.length + 1);
}

function renamed(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch {
    return false;
  }
}

/**
 * Gives a finished folder its name, which stands for its contents: where that name is taken, there they are already,
 * from another process or from one that was cut off just after this step.
 *
 * @param damaged whether what is there is known to be damaged, and replaced.
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

/** Removes such a folder, if it is still there; or keeps it for whoever goes on with it. */
export function closeTemporary(path: string, { keep }: { keep: boolean }): void {
  active.delete(path);
  if (!keep) rmSync(path, { recursive: true, force: true });
}

/** Removes what preparations that no longer run have left. */
export function removeStale(directory: string): void {
  for (const path of abandoned(directory)) rmSync(path, { recursive: true, force: true });
}

/** Working folders of preparations that no longer run. */
function abandoned(directory: string): string[] {
  const isAbandoned = (name: string) => {
    const parts = /^\.tmp-(.*)-(\d+)-[0-9a-f]{8}$/.exec(name);
    const path = join(directory, name);
    if (!parts) return false;
    if (parts[1] === place()) return !isRunning(Number(parts[2]), path);
    // Other machines and containers may be at work in a shared folder; their processes cannot be seen from here.
    const { mtimeMs = 0 } = statSync(path, { throwIfNoEntry: false }) ?? {};
    return Date.now() - mtimeMs > SILENT_MS;
  };
  return readdirSync(directory)
    .filter(isAbandoned)
    .map((name) => join(directory, name));
}

/**
 * Where process ids mean something: this pid namespace of this boot. Host names do not tell, since two containers can have
 * one; they stand in where the system tells nothing else.
 */
export function place(): string {
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

/** Removes the shards of datasets that the manifest no longer names. */
export function removeOtherDatasets(directory: string, current: string): void {
  for (const name of readdirSync(directory)) {
    if (/^[0-9a-f]{16}$/.test(name) && name !== current) {
      rmSync(join(directory, name), { recursive: true, force: true });
    }
  }
}
