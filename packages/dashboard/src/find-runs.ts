/** Finds run directories and studies below some folders, never outside of them. */
import { readdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';

/** A folder to search. */
export interface Root {
  path: string;
  /** Levels of subfolders to search; 0 for the folder itself only. */
  depth: number;
}

/** A run directory, or the folder of a study, and its displayed name. */
export interface FoundRun {
  path: string;
  name: string;
}

/** Folders visited by one search, so that a wrong root such as `/` costs little. */
const MAX_FOLDERS = 5000;
const MAX_RUNS = 1000;

/** The levels below `runs` of a study: arm, seed, step. */
const STUDY_DEPTH = 3;

/**
 * Returns the runs below the roots, the primary run first, and the studies. Skips links, hidden folders and folders
 * inside runs.
 */
export async function findRuns(
  roots: readonly Root[],
  primary?: string,
): Promise<{ runs: FoundRun[]; studies: FoundRun[]; isCut: boolean }> {
  const runs = new Map<string, FoundRun>();
  const studies = new Map<string, FoundRun>();
  let folders = 0;
  const visit = async (path: string, name: string, depth: number): Promise<void> => {
    if (runs.size >= MAX_RUNS || folders++ >= MAX_FOLDERS) return;
    const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
    const names = entries.map((entry) => entry.name);
    const found = { path, name: name || basename(path) };
    if (isRun(names)) {
      if (!runs.has(path)) runs.set(path, found);
      return;
    }
    if (isStudy(names)) {
      studies.set(path, found);
      await visit(join(path, 'runs'), name, STUDY_DEPTH);
      return;
    }
    if (depth === 0) return;
    for (const entry of entries) {
      const isHidden = entry.name.startsWith('.') || entry.name === 'node_modules';
      if (!entry.isDirectory() || isHidden) continue;
      await visit(join(path, entry.name), name ? `${name}/${entry.name}` : entry.name, depth - 1);
    }
  };
  if (primary !== undefined) await visit(primary, basename(primary), 0);
  for (const { path, depth } of roots) {
    await visit(resolve(path), roots.length > 1 ? basename(resolve(path)) : '', depth);
  }
  return {
    runs: [...runs.values()],
    studies: [...studies.values()],
    isCut: runs.size >= MAX_RUNS || folders >= MAX_FOLDERS,
  };
}

function isRun(names: readonly string[]): boolean {
  return names.includes('metrics.jsonl') || (names.includes('config.yaml') && names.includes('run.lock'));
}

function isStudy(names: readonly string[]): boolean {
  return names.includes('plan.yaml') && names.includes('runs.yaml');
}
