import { execFileSync } from 'node:child_process';
import { accessSync, constants, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const groups = ['cpu', 'memory'].map((controller) => `/sys/fs/cgroup/${controller}/meap-test-${process.pid}`);
const canMake = groups.every((group) => {
  try {
    accessSync(group.slice(0, group.lastIndexOf('/')), constants.W_OK);
    return process.getuid?.() === 0;
  } catch {
    return false;
  }
});

// With version 1 and as root.
it.skipIf(!canMake)('a control group of one processor and 1 GiB limits threads and memory', () => {
  for (const group of groups) mkdirSync(group);
  try {
    writeFileSync(`${groups[0]}/cpu.cfs_quota_us`, '100000');
    writeFileSync(`${groups[1]}/memory.limit_in_bytes`, String(2 ** 30));
    const kernels = new URL('../dist/index.js', import.meta.url);
    const program = `
      const { availableThreads, containerLimits, setBackend } = await import('${kernels}');
      const { device } = await setBackend('native');
      console.log(JSON.stringify({ ...containerLimits(), threads: availableThreads(), device }));
    `;
    const enter = groups.map((group) => `echo $$ > ${group}/cgroup.procs`).join(' && ');
    const { MEAP_NUM_THREADS: _, ...env } = process.env;
    const said = execFileSync(
      'sh',
      ['-c', `${enter} && exec "$0" "$@"`, process.execPath, '--input-type=module', '-e', program],
      { encoding: 'utf8', env },
    );
    expect(JSON.parse(said)).toMatchObject({
      cpus: 1,
      memoryBytes: 2 ** 30,
      threads: 1,
      device: expect.stringMatching(/, 1 thread$/),
    });
  } finally {
    for (const group of groups) rmdirSync(group);
  }
});
