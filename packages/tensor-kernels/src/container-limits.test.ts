import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { availableThreads, containerLimits } from './container-limits.ts';

const roots: string[] = [];
afterEach(() => {
  for (const root of roots.splice(0)) rmSync(root, { recursive: true });
});

function machine(groups: string, files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'cgroup-'));
  roots.push(root);
  for (const [path, content] of Object.entries({ '/proc/self/cgroup': groups, ...files })) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), `${content}\n`);
  }
  return root;
}
const v1 = '/sys/fs/cgroup/cpu,cpuacct';

it.each<[string, string, Record<string, string>, object]>([
  ['no group', '', {}, {}],
  [
    'version 2, no limit',
    '0::/a',
    { '/sys/fs/cgroup/a/cpu.max': 'max 100000', '/sys/fs/cgroup/a/memory.max': 'max' },
    {},
  ],
  [
    'version 2',
    '0::/a',
    { '/sys/fs/cgroup/a/cpu.max': '150000 100000', '/sys/fs/cgroup/a/memory.max': '1073741824' },
    { cpus: 1.5, memoryBytes: 2 ** 30 },
  ],
  [
    'version 2, a limit above',
    '0::/pod/a',
    { '/sys/fs/cgroup/pod/cpu.max': '50000 100000', '/sys/fs/cgroup/pod/a/cpu.max': '400000 100000' },
    { cpus: 0.5 },
  ],
  [
    'version 2, the path of the host',
    '0::/docker/1f',
    { '/sys/fs/cgroup/cpu.max': '200000 100000' },
    { cpus: 2 },
  ],
  [
    'version 1',
    '4:memory:/a\n2:cpu,cpuacct:/a',
    {
      [`${v1}/a/cpu.cfs_quota_us`]: '300000',
      [`${v1}/a/cpu.cfs_period_us`]: '100000',
      '/sys/fs/cgroup/memory/a/memory.limit_in_bytes': '536870912',
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712',
    },
    { cpus: 3, memoryBytes: 2 ** 29 },
  ],
  [
    'version 1, no limit',
    '4:memory:/\n2:cpu,cpuacct:/',
    {
      [`${v1}/cpu.cfs_quota_us`]: '-1',
      [`${v1}/cpu.cfs_period_us`]: '100000',
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712',
    },
    {},
  ],
  [
    'version 1, controllers mounted apart',
    '2:cpu,cpuacct:/a',
    { '/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us': '100000', '/sys/fs/cgroup/cpu/a/cpu.cfs_period_us': '50000' },
    { cpus: 2 },
  ],
])('reads the limits of %s', (_, groups, files, limits) => {
  expect(containerLimits(machine(groups, files))).toEqual(limits);
});

it('returns whole processors, at least one and at most all', () => {
  expect(availableThreads({ cpus: 0.5 })).toBe(1);
  expect(availableThreads({ cpus: 1.9 })).toBe(1);
  expect(availableThreads({ cpus: 1e6 })).toBe(availableParallelism());
  expect(availableThreads({})).toBe(availableParallelism());
});
