/** Where the runs are: below the folders given, never outside. */
import { readdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';

/** A folder to look into. */
export interface Root {
  path: string;
  /** Folders below it that are looked into, in levels; 0 takes the folder itself only. */
  depth: number;
}

/** A run's folder and its name for people. */
export interface FoundRun {
  path: string;
  name: string;
}

/** Folders that are looked into by one search at most, so that a wrong folder, such as `/`, costs little. */
const MOST_FOLDERS = 5000;

/** Runs that are listed at most. */
const MOST_RUNS = 1000;

/** The runs below the roots, the primary one first; links are not followed, checkpoints and hidden folders passed over. */
export async function findRuns(
  roots: readonly Root[],
  primary?: string,
): Promise<{ runs: FoundRun[]; isCut: boolean }> {
  const runs = new Map<string, FoundRun>();
  let folders = 0;
  const look = async (path: string, name: string, depth: number): Promise<void> => {
    if (runs.size >= MOST_RUNS || folders++ >= MOST_FOLDERS) return;
    const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
    if (isRun(entries.map((entry) => entry.name))) {
      if (!runs.has(path)) runs.set(path, { path, name: name || basename(path) });
      return;
    }
    if (depth === 0) return;
    for (const entry of entries) {
      const isHidden = entry.name.startsWith('.') || entry.name === 'node_modules';
      if (!entry.isDirectory() || isHidden) continue;
      await look(join(path, entry.name), name ? `${name}/${entry.name}` : entry.name, depth - 1);
    }
  };
  if (primary !== undefined) await look(primary, basename(primary), 0);
  for (const { path, depth } of roots) {
    await look(resolve(path), roots.length > 1 ? basename(resolve(path)) : '', depth);
  }
  return { runs: [...runs.values()], isCut: runs.size >= MOST_RUNS || folders >= MOST_FOLDERS };
}

function isRun(names: readonly string[]): boolean {
  return names.includes('metrics.jsonl') || (names.includes('config.yaml') && names.includes('run.lock'));
}
