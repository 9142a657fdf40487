/** Node unloads the addon when the worker that loaded it ends: its threads must be gone by then. */
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { expect, it } from 'vitest';
import { loadNativeAddon } from './native-addon.ts';

loadNativeAddon();
/** The file that was loaded: a local build, or a platform's package. */
const addon = Object.keys(createRequire(import.meta.url).cache).find((path) =>
  path.endsWith('meap_kernels.node'),
)!;
const compute = `
  const addon = require(${JSON.stringify(addon)});
  addon.setNumThreads(4);
  const ones = new Float32Array(100_000).fill(1), sums = new Float32Array(100_000);
  addon.add(ones.length, ones, ones, sums);
  console.log(sums.every((sum) => sum === 2));
`;
const inWorkers = (exit: string) => `
  const { Worker } = require('node:worker_threads');
  (async () => {
    for (let i = 0; i < 5; i++) {
      const worker = new Worker(${JSON.stringify(compute + exit)}, { eval: true });
      await new Promise((resolve) => worker.once('exit', resolve));
    }
    ${compute}
  })();
`;

it.each([
  ['at its end', inWorkers('')],
  ['by process.exit', inWorkers('process.exit();')],
])('a program goes on after workers that computed ended %s', (_, program) => {
  const output = execFileSync(process.execPath, ['-e', program], { encoding: 'utf8' });
  expect(output.trim().split('\n')).toEqual(Array(6).fill('true'));
});

it('a program can exit while its worker computes', () => {
  const program = `
    const { Worker } = require('node:worker_threads');
    new Worker(${JSON.stringify(`${compute}\nfor (;;) addon.add(ones.length, ones, ones, sums);`)}, { eval: true });
    require(${JSON.stringify(addon)}).setNumThreads(4);
    setTimeout(() => process.exit(7), 100);
  `;
  expect(() => execFileSync(process.execPath, ['-e', program], { stdio: 'pipe' })).toThrow(
    expect.objectContaining({ status: 7 }),
  );
});
