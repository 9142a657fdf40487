/** The built commands as separate processes: killed, interrupted, resumed. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { hashFiles, readExactMetrics } from '@meap/recipe-cli';
import { setFlags, startProcess } from '@meap/test-support';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Workbench } from './testing.ts';

const bin = (name: string) => join(import.meta.dirname, '../dist', `${name}.js`);
const bench = new Workbench();
const hasScript = process.platform === 'linux' && spawnSync('script', ['--version']).status === 0;
// Large enough that writing a checkpoint takes milliseconds.
const sets = ['model.hidden_size=96', 'train.max_steps=40', 'checkpoint.every=1'];
const argv = (out: string) => [
  ...['--config', bench.recipe, '--out', bench.path(out)],
  ...setFlags(...sets, `data.cache_dir=${bench.path('cache')}`),
];

const start = (name: string, args: string[]) => startProcess(process.execPath, [bin(name), ...args]);

const partials = (out: string) => {
  const folder = bench.path(out, 'checkpoints');
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.partial')) : [];
};

/** Returns what must be equal between two runs: the last checkpoint, the metrics without times, the samples. */
function bytesOf(out: string) {
  return {
    files: hashFiles(bench.path(out, 'checkpoints/step-00000040')),
    metrics: readExactMetrics(bench.path(out)),
    samples: readFileSync(bench.path(out, 'samples.jsonl'), 'utf8'),
  };
}

beforeAll(async () => {
  if (!existsSync(bin('cli'))) throw new Error('the commands are not built: run `pnpm build` first');
  const { ended, output } = start('cli', argv('whole'));
  expect(await ended, output.stderr).toBe(0);
});
afterAll(() => bench.dispose());

/** Starts a second process in the folder of a suspended first one. */
async function expectRefusal(out: string, first: ChildProcess) {
  first.kill('SIGSTOP');
  const config = readFileSync(bench.path(out, 'config.yaml'), 'utf8');
  const second = start('cli', [...argv(out), '--set', 'train.learning_rate=1']);
  expect(await second.ended).toBe(1);
  expect(second.output.stderr).toMatch(
    /^meap-pretrain: train: \S+run\.lock is held by process \d+ [^\n]+\n$/,
  );
  expect(readFileSync(bench.path(out, 'config.yaml'), 'utf8')).toBe(config);
  first.kill('SIGCONT');
}

describe('meap-pretrain', () => {
  it('killed repeatedly while writing checkpoints gives the bytes of an uninterrupted run', async () => {
    let cutOff = 0;
    for (let kill = 0; kill < 3; kill++) {
      const { child, ended, until } = start('cli', argv('killed'));
      const earlier = new Set(partials('killed'));
      // Later each time, so that different files are truncated.
      await until(() => partials('killed').some((name) => !earlier.has(name)));
      await sleep(kill * 3);
      child.kill('SIGKILL');
      expect(await ended).toBe('SIGKILL');
      cutOff += partials('killed').length;
    }
    expect(cutOff).toBeGreaterThan(0);
    const { ended, output } = start('cli', argv('killed'));
    expect(await ended, output.stderr).toBe(0);
    expect(bytesOf('killed')).toEqual(bytesOf('whole'));
    expect(partials('killed')).toEqual([]);
  });

  it('refuses a second process; on each signal saves, prints the command to continue, exits with its code', async () => {
    let args = [...argv('signalled'), '--resume', 'never'];
    for (const [signal, code] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
      // The signal itself ends the process.
      ['SIGHUP', 'SIGHUP'],
    ] as const) {
      const { child, output, ended, until } = start('cli', args);
      await until(() => /^step +\d+ of 40/m.test(output.stdout));
      if (signal === 'SIGINT') await expectRefusal('signalled', child);
      child.kill(signal);
      expect(await ended, output.stderr).toBe(code);
      const again = /\nstopped at step (\d+); continue with: meap-pretrain (.*)\n$/.exec(output.stdout);
      expect(Number(again?.[1]), signal).toBeLessThan(40);
      args = again![2].split(' ');
    }
    const { ended, output } = start('cli', args);
    expect(await ended, output.stderr).toBe(0);
    expect(bytesOf('signalled')).toEqual(bytesOf('whole'));
  });

  it.skipIf(!hasScript)(
    'saves when its terminal is closed, and gives the same bytes when resumed',
    async () => {
      const command = [process.execPath, bin('cli'), ...argv('closed')].join(' ');
      const { CI, ...env } = process.env;
      const terminal = spawn('script', ['-qefc', `exec ${command}`, '/dev/null'], {
        env,
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      terminal.stdout.resume();
      const metrics = bench.path('closed', 'metrics.jsonl');
      while (!existsSync(metrics) || readFileSync(metrics).length === 0) await sleep(1);
      terminal.kill('SIGKILL');
      while (existsSync(bench.path('closed', 'run.lock'))) await sleep(5);
      const { ended, output } = start('cli', argv('closed'));
      expect(await ended, output.stderr).toBe(0);
      expect(output.stdout).toMatch(/resume {7}at step \d+/);
      expect(output.stdout).not.toMatch(/warning/);
      expect(bytesOf('closed')).toEqual(bytesOf('whole'));
    },
  );

  it('continues when its output is closed', async () => {
    const { child, output, ended, until } = start('cli', argv('unread'));
    await until(() => output.stdout.includes('backend'));
    child.stdout!.destroy();
    child.stderr!.destroy();
    expect(await ended).toBe(0);
    expect(bytesOf('unread')).toEqual(bytesOf('whole'));
  });
});
