/** Which cores the programs of a study run on. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** Returns the commands that pin each of `jobs` programs to its own cores; empty where programs cannot be pinned. */
export function pinCommands(jobs: number): string[][] {
  const cores = allowedCores();
  const each = Math.floor(cores.length / jobs);
  const canPin = each > 0 && spawnSync('taskset', ['--version']).status === 0;
  return Array.from({ length: jobs }, (_, i) =>
    canPin ? ['taskset', '--cpu-list', cores.slice(i * each, (i + 1) * each).join(',')] : [],
  );
}

/** Threads of each of `jobs` programs. Results do not depend on their number. */
export function threadsOf(jobs: number): number {
  return Math.max(1, Math.floor(availableParallelism() / jobs));
}

/** Returns the cores that this process may use; none where the system does not say. */
function allowedCores(): number[] {
  try {
    const [, list] = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))!;
    return parseCores(list);
  } catch {
    return [];
  }
}

/** Parses a list of cores as Linux writes it, such as `0-3,8`. */
export function parseCores(list: string): number[] {
  return list.split(',').flatMap((part) => {
    const [first, last = first] = part.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}
