import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { guard } from './shard.ts';

/** Folders being filled by this very process; its id alone would also match a killed predecessor in a container. */
const active = new Set<string>();

/** A new hidden folder to work in, inside `directory`. */
export function openTemporary(directory: string): string {
  const name = `.tmp-${hostname()}-${process.pid}-${randomBytes(4).toString('hex')}`;
  const path = join(directory, name);
  guard(path, () => mkdirSync(path));
  active.add(path);
  return path;
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

/** Removes such a folder, if it is still there. */
export function closeTemporary(path: string): void {
  active.delete(path);
  rmSync(path, { recursive: true, force: true });
}

/** Removes what preparations that no longer run have left. */
export function removeStale(directory: string): void {
  const dayAgo = Date.now() - 24 * 3600 * 1000;
  for (const name of readdirSync(directory)) {
    const parts = /^\.tmp-(.*)-(\d+)-[0-9a-f]{8}$/.exec(name);
    const path = join(directory, name);
    if (!parts) continue;
    // Other machines may be at work in a shared folder; their processes cannot be seen from here.
    const here = parts[1] === hostname();
    const alive = here
      ? isRunning(Number(parts[2]), path)
      : (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0) > dayAgo;
    if (!alive) rmSync(path, { recursive: true, force: true });
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
