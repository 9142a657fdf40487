/** What a container or a batch system lets this process have of its machine: the limits of Linux's control groups. */

/** Limits of a process; absent where nothing limits it. */
export interface ContainerLimits {
  /** Processors' worth of time. */
  cpus?: number;
  memoryBytes?: number;
}

/** Beyond any machine: what version 1 says where there is no limit. */
const NO_LIMIT = 2 ** 60;

/**
 * Reads the limits of this process's control groups, of version 1 and 2, and of all groups above them; the least counts.
 *
 * Inside a container the path of the group may be that of the host, which is not there: the mounted root then is its own.
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

/** Threads that can run at once: processors that this process may use, as far as its container lets it have their time. */
export function availableThreads(limits = containerLimits()): number {
  const { availableParallelism } = process.getBuiltinModule('node:os');
  // More threads than whole processors are stopped while the others wait for them.
  return Math.max(1, Math.min(availableParallelism(), Math.floor(limits.cpus ?? Number.POSITIVE_INFINITY)));
}

/** A group's path and those above it, down to the root. */
function withParents(path: string): string[] {
  const parts = path.split('/').filter(Boolean);
  return Array.from({ length: parts.length + 1 }, (_, i) =>
    ['', ...parts.slice(0, parts.length - i)].join('/'),
  );
}
