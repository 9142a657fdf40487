import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

/** What only a process can show: kill -9, signals, a lock between processes, a limit on file sizes. Runs `dist`. */

interface Event {
  type: string;
  step?: number;
  message?: string;
  [key: string]: unknown;
}
interface ChildOptions {
  steps?: number;
  every?: number;
  stallAt?: number;
}

const root = mkdtempSync(join(tmpdir(), 'meap-process-'));
const script = fileURLToPath(new URL('../fixtures/child.mjs', import.meta.url));
const STEPS = 40;
let directory: string;
let whole: Record<string, string>;
let count = 0;

beforeAll(async () => {
  await finish(join(root, 'whole'));
  whole = outcome(join(root, 'whole'));
});
beforeEach(() => {
  directory = join(root, String(count++));
});
afterAll(() => rmSync(root, { recursive: true }));

function start(where: string, options: ChildOptions = {}, shell?: string): ChildProcess {
  const args = [script, where, JSON.stringify({ steps: STEPS, every: 1, ...options })];
  const [command, ...rest] = shell
    ? ['sh', '-c', `${shell}; exec "$@"`, 'sh', process.execPath, ...args]
    : [process.execPath, ...args];
  return spawn(command, rest, { stdio: ['ignore', 'pipe', 'ignore'] });
}

/** Calls back for each event until the process ends; returns all of them and how it ended. */
async function follow(child: ChildProcess, onEvent: (event: Event) => void = () => {}) {
  const events: Event[] = [];
  const closed = once(child, 'close');
  for await (const line of createInterface({ input: child.stdout! })) {
    events.push(JSON.parse(line));
    onEvent(events.at(-1)!);
  }
  const [code, signal] = await closed;
  return { events, code: code as number | null, signal: signal as string | null };
}

async function finish(where: string, options: ChildOptions = {}): Promise<Event[]> {
  const { events, code } = await follow(start(where, options));
  expect(code).toBe(0);
  expect(events.at(-1)).toMatchObject({ type: 'result', status: 'finished' });
  return events;
}

function outcome(where: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (const name of readdirSync(where, { recursive: true, encoding: 'utf8' })) {
    if (!/\.jsonl$|step-00000040.*\.(json|safetensors)$/.test(name)) continue;
    files[name] = readFileSync(join(where, name), 'latin1').replaceAll(/"tokensPerSecond":[^,}]+/g, '');
  }
  return files;
}

describe('a killed process', () => {
  it('in the middle of writing a checkpoint leaves the one before, and resuming gives the same bytes', async () => {
    const child = start(directory, { stallAt: 17 });
    const { signal } = await follow(child, ({ type }) => type === 'stalled' && child.kill('SIGKILL'));
    expect(signal).toBe('SIGKILL');
    const left = readdirSync(join(directory, 'checkpoints')).sort();
    expect(left).toEqual(['.step-00000017.partial', 'step-00000015', 'step-00000016']);
    const events = await finish(directory);
    expect(events[0]).toMatchObject({ type: 'resume', step: 16 });
    expect(outcome(directory)).toEqual(whole);
    expect(readdirSync(join(directory, 'checkpoints')).sort()).toEqual(['step-00000039', 'step-00000040']);
  });
});

describe('signals', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    '%s saves, ends cleanly, and resuming gives the same bytes',
    async (name) => {
      const child = start(directory, { every: 1000 });
      const { events, code } = await follow(child, ({ type, step }) => {
        if (type === 'step' && step === 5) child.kill(name);
      });
      expect(code).toBe(0);
      const result = events.at(-1)!;
      expect(result).toMatchObject({ type: 'result', status: 'stopped' });
      expect(result.step).toBeLessThan(STEPS);
      expect(readdirSync(join(directory, 'checkpoints'))).toHaveLength(1);
      expect(readdirSync(directory)).not.toContain('run.lock');
      expect((await finish(directory, { every: 1000 }))[0]).toMatchObject({
        type: 'resume',
        step: result.step,
      });
      expect(outcome(directory)).toEqual(whole);
    },
  );

  it('a second signal ends the process at once, even while it saves', async () => {
    const child = start(directory, { every: 1000, stallAt: 5 });
    let signals = 0;
    const { signal } = await follow(child, ({ type, step }) => {
      if ((type === 'step' && step === 5) || type === 'stalled') {
        signals++;
        child.kill('SIGTERM');
      }
    });
    expect([signals, signal]).toEqual([2, 'SIGTERM']);
    await finish(directory);
    expect(outcome(directory)).toEqual(whole);
  });
});

describe('two processes', () => {
  it('cannot train in one folder, and the lock of a dead one is taken over', async () => {
    const first = start(directory, { stallAt: 2 });
    await follow(first, async ({ type }) => {
      if (type !== 'stalled') return;
      const { events, code } = await follow(start(directory));
      expect(code).toBe(1);
      expect(events).toMatchObject([{ type: 'error', name: 'RunLockedError' }]);
      expect(events[0].message).toContain(`held by process ${first.pid}`);
      first.kill('SIGKILL');
    });
    expect(readdirSync(directory)).toContain('run.lock');
    await finish(directory);
    expect(outcome(directory)).toEqual(whole);
  });
});

describe.skipIf(process.platform === 'win32')('a file that cannot grow', () => {
  it('keeps metrics in memory, reports saves in one line, stops with the last checkpoint intact', async () => {
    // 4 KiB a file: metrics.jsonl passes it after some twenty steps.
    const { events, code } = await follow(start(directory, { every: 7 }, 'ulimit -f 8'));
    const warnings = events.filter(({ type }) => type === 'warning').map(({ message }) => message!);
    expect(warnings[0]).toMatch(/metrics\.jsonl: EFBIG.*; kept in memory until there is room$/);
    expect(warnings[1]).toMatch(
      /metrics\.jsonl: not written: EFBIG.*; training goes on, earlier checkpoints stay$/,
    );
    expect(warnings.every((warning) => !warning.includes('\n'))).toBe(true);
    expect(code).toBe(1);
    expect(events.at(-1)).toMatchObject({ type: 'error', name: 'CheckpointError' });
    // Whole lines only.
    for (const line of readFileSync(join(directory, 'metrics.jsonl'), 'utf8').split('\n').slice(0, -1)) {
      JSON.parse(line);
    }
    const resumed = await finish(directory, { every: 7 });
    expect(resumed[0]).toMatchObject({ type: 'resume' });
    expect(outcome(directory)).toEqual(whole);
  });
});
