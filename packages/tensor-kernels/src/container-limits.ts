/** Limits that a container or a batch system sets for this process: Linux control groups. */

/** Limits of a process; absent where there is none. */
export interface ContainerLimits {
  /** CPU time, in processors. */
  cpus?: number;
  memoryBytes?: number;
}

/** Larger than any machine: the value of version 1 without a limit. */
const NO_LIMIT = 2 ** 60;

/**
 * Reads the limits of this process's control groups, of versions 1 and 2, and of their parents; the lowest applies.
 *
 * Inside a container the path of a group may be that of the host; the mounted root is then the group itself.
 *
 * @param root the folder that holds `proc` and `sys`
 */
export function containerLimits(root = ''): ContainerLimits {
  const fs = globalThis.process?.getBuiltinModule?.('node:fs');
  const read = (path: string): string => {
    try {
      return fs?.readFileSync(path, 'utf8').trim() ?? '';
    } catch {
      return '';
    }
  };
  const [cpus, memory]: [number[], number[]] = [[], []];
  for (const line of read(`${root}/proc/self/cgroup`).split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (path === undefined) continue;
    for (const mount of controllers === '' ? ['', 'unified'] : [controllers, ...controllers.split(',')]) {
      for (const group of withParents(path)) {
        const folder = `${root}/sys/fs/cgroup/${mount}${group}`;
        const [quota, period] = read(`${folder}/cpu.max`).split(' ').map(Number);
        cpus.push(quota / period);
        cpus.push(Number(read(`${folder}/cpu.cfs_quota_us`)) / Number(read(`${folder}/cpu.cfs_period_us`)));
        memory.push(Number(read(`${folder}/memory.max`)), Number(read(`${folder}/memory.limit_in_bytes`)));
      }
    }
  }
  const least = (limits: number[]) => Math.min(...limits.filter((limit) => limit > 0 && limit < NO_LIMIT));
  const [leastCpus, leastMemory] = [least(cpus), least(memory)];
  return {
    ...(leastCpus < NO_LIMIT && { cpus: leastCpus }),
    ...(leastMemory < NO_LIMIT && { memoryBytes: leastMemory }),
  };
}

/** Returns the number of threads that can run at once, within the CPU quota of the container. */
export function availableThreads(limits = containerLimits()): number {
  const { availableParallelism } = process.getBuiltinModule('node:os');
  // The system stops threads beyond whole processors while the others wait for them.
  return Math.max(1, Math.min(availableParallelism(), Math.floor(limits.cpus ?? Number.POSITIVE_INFINITY)));
}

/** A group's path and its parents, up to the root. */
function withParents(path: string): string[] {
  const parts = path.split('/').filter(Boolean);
  return Array.from({ length: parts.length + 1 }, (_, i) =>
    ['', ...parts.slice(0, parts.length - i)].join('/'),
  );
}
