/** What only a process can show: kill -9, signals, a lock between processes, a limit on file sizes. Runs `dist`. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { directory, expectExactResume, expectWhole, follow, prepareRuns, STEPS, start } from './testing.ts';

prepareRuns();

describe('a killed process', () => {
  it('while writing a checkpoint leaves the previous one, and resuming gives the same bytes', async () => {
    const child = start({ stallAt: 17 });
    const { signal } = await follow(child, ({ type }) => type === 'stalled' && child.kill('SIGKILL'));
    expect(signal).toBe('SIGKILL');
    const left = readdirSync(join(directory, 'checkpoints')).sort();
    expect(left).toEqual(['.step-00000017.partial', 'step-00000015', 'step-00000016']);
    const events = await expectExactResume();
    expect(events[0]).toMatchObject({ type: 'resume', step: 16 });
    expect(readdirSync(join(directory, 'checkpoints')).sort()).toEqual(['step-00000039', 'step-00000040']);
  });
});

describe('signals', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    '%s saves, ends cleanly, and resuming gives the same bytes',
    async (name) => {
      const child = start({ every: 1000 });
      const { events, code } = await follow(child, ({ type, step }) => {
        if (type === 'step' && step === 5) child.kill(name);
      });
      expect(code).toBe(0);
      const result = events.at(-1)!;
      expect(result).toMatchObject({ type: 'result', status: 'stopped' });
      expect(result.step).toBeLessThan(STEPS);
      expect(readdirSync(join(directory, 'checkpoints'))).toHaveLength(1);
      expect(readdirSync(directory)).not.toContain('run.lock');
      expect((await expectExactResume({ every: 1000 }))[0]).toMatchObject({
        type: 'resume',
        step: result.step,
      });
    },
  );

  it('a second signal ends the process at once, even while it saves', async () => {
    const child = start({ every: 1000, stallAt: 5 });
    let signals = 0;
    const { signal } = await follow(child, ({ type, step }) => {
      if ((type === 'step' && step === 5) || type === 'stalled') {
        signals++;
        child.kill('SIGTERM');
      }
    });
    expect([signals, signal]).toEqual([2, 'SIGTERM']);
    await expectExactResume();
  });
});

describe('two processes', () => {
  it('cannot train in one folder, and the lock of a dead one is taken over', async () => {
    const first = start({ stallAt: 2 });
    await follow(first, async ({ type }) => {
      if (type !== 'stalled') return;
      const { events, code } = await follow(start());
      expect(code).toBe(1);
      expect(events).toMatchObject([{ type: 'error', name: 'RunLockedError' }]);
      expect(events[0].message).toContain(`held by process ${first.pid}`);
      first.kill('SIGKILL');
    });
    expect(readdirSync(directory)).toContain('run.lock');
    await expectExactResume();
  });
});

const container = ['unshare', '--pid', '--fork', '--kill-child', '--uts', '--mount-proc'];
const canUnshare = spawnSync(container[0], [...container.slice(1), 'true']).status === 0;

describe.skipIf(!canUnshare)('two containers of one machine, of the same host name', () => {
  it('cannot train in one folder, also while the first is stopped, and the lock of a dead one is taken over', async () => {
    const first = start({ stallAt: 2 }, { launcher: container, shell: 'hostname trainer' });
    await follow(first, async ({ type }) => {
      if (type !== 'stalled') return;
      const inner = readFileSync(`/proc/${first.pid}/task/${first.pid}/children`, 'utf8').trim();
      process.kill(Number(inner), 'SIGSTOP');
      // Without its own /proc, which then shows the pids of others.
      const second = start({}, { launcher: container.slice(0, -1), shell: 'hostname trainer' });
      const { events, code } = await follow(second);
      expect(code).toBe(1);
      expect(events).toMatchObject([{ type: 'error', name: 'RunLockedError' }]);
      first.kill('SIGKILL');
    });
    expect(readdirSync(directory)).toContain('run.lock');
    const { events, warnings } = await follow(start({}, { launcher: container, shell: 'hostname renamed' }));
    expect(warnings).toEqual([]);
    expect(events.at(-1)).toMatchObject({ type: 'result', status: 'finished' });
    expectWhole();
  });
});

describe.skipIf(process.platform === 'win32')('a file that cannot grow', () => {
  it('keeps metrics in memory, reports saves in one line, stops with the last checkpoint intact', async () => {
    // 4 KiB a file: metrics.jsonl passes it before the twentieth step.
    const { events, code } = await follow(start({ every: 7 }, { shell: 'ulimit -f 8' }));
    const warnings = events.filter(({ type }) => type === 'warning').map(({ message }) => message!);
    expect(warnings[0]).toMatch(/metrics\.jsonl: EFBIG.*; kept in memory until the disk has space$/);
    // TensorBoard's file grows as fast, and may be full before the next save.
    expect(warnings.find((warning) => warning.includes('not written'))).toMatch(
      /metrics\.jsonl: not written: EFBIG.*; training continues, earlier checkpoints stay$/,
    );
    expect(warnings.every((warning) => !warning.includes('\n'))).toBe(true);
    expect(code).toBe(1);
    expect(events.at(-1)).toMatchObject({ type: 'error', name: 'CheckpointError' });
    // Whole lines only.
    for (const line of readFileSync(join(directory, 'metrics.jsonl'), 'utf8').split('\n').slice(0, -1)) {
      JSON.parse(line);
    }
    const resumed = await expectExactResume({ every: 7 });
    expect(resumed[0]).toMatchObject({ type: 'resume' });
  });
});
