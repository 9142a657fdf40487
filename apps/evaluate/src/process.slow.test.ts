import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tinyModel } from './testing.ts';

const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
/** Rows with two requests each, enough for several calls of the model. */
const NUM_ROWS = 500;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'meap-evaluate-'));
  const rows = Array.from({ length: NUM_ROWS }, (_, i) =>
    JSON.stringify({ goal: `open ${i}`, sol1: 'with a key', sol2: `with ${i} keys`, label: i % 2 }),
  );
  writeFileSync(join(folder, 'piqa.jsonl'), rows.join('\n'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function start(cache: string): { child: ChildProcess; output: () => { stdout: string; stderr: string } } {
  const args = [
    'run',
    '--model',
    tinyModel,
    '--tasks',
    'piqa',
    '--set',
    `data.piqa=${join(folder, 'piqa.jsonl')}`,
    '--out',
    join(folder, cache, 'out'),
  ];
  const child = spawn(process.execPath, [cli, ...args, '--cache', join(folder, cache), '--json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout!.on('data', (text) => {
    stdout += text;
  });
  child.stderr!.on('data', (text) => {
    stderr += text;
  });
  return { child, output: () => ({ stdout, stderr }) };
}

async function finish(cache: string) {
  const { child, output } = start(cache);
  const [code] = await once(child, 'close');
  return { code, ...output() };
}

/** Starts a run and sends a signal as soon as its first answers are stored. */
async function interrupt(cache: string, signal: NodeJS.Signals) {
  const { child, output } = start(cache);
  const closed = once(child, 'close');
  let isSent = false;
  child.stderr!.on('data', () => {
    if (isSent || !output().stderr.includes('piqa ')) return;
    isSent = child.kill(signal);
  });
  const [code] = await closed;
  return { code, ...output() };
}

const numCached = (stderr: string) => Number(/(\d+) cached answers/.exec(stderr)?.[1] ?? 0);

describe('meap-evaluate attention', () => {
  it('stops on SIGTERM and prints how to continue', async () => {
    const text = join(folder, 'a.txt');
    writeFileSync(text, 'Call me Ishmael. Some years ago, never mind how long. '.repeat(4000));
    const sets = [`data.texts=${text}`, 'attention.lengths=[32]', 'attention.sequences=2000'];
    const args = [
      'attention',
      tinyModel,
      tinyModel,
      '--out',
      join(folder, 'out'),
      '--cache',
      join(folder, 'cache'),
    ];
    const child = spawn(process.execPath, [cli, ...args, ...sets.flatMap((set) => ['--set', set])]);
    let stdout = '';
    let isSent = false;
    child.stdout.on('data', (data) => {
      stdout += data;
      // A second signal would end it immediately.
      if (!isSent && stdout.includes('length 32')) isSent = child.kill('SIGTERM');
    });
    const [code] = await once(child, 'close');
    expect(stdout).toMatch(
      /SIGTERM: stopping; repeat to exit immediately\nstopped; answers are cached; continue with: meap-evaluate att/,
    );
    expect(code).toBe(143);
  });
});

describe('meap-evaluate run', () => {
  it('continues after SIGINT and after kill -9 with cached answers, to the same bytes', async () => {
    const whole = await finish('whole');
    expect(whole.code).toBe(0);
    const stopped = await interrupt('stopped', 'SIGINT');
    expect(stopped.code).toBe(130);
    expect(stopped.stdout).toMatch(/^stopped; answers are cached; continue with: meap-evaluate run --model /);
    expect(stopped.stderr).toContain('SIGINT: stopping; repeat to exit immediately');
    const killed = await interrupt('stopped', 'SIGKILL');
    expect(killed.code).toBe(null);
    expect(killed.stdout).toBe('');
    const again = await finish('stopped');
    expect(again.code).toBe(0);
    expect(numCached(again.stderr)).toBeGreaterThan(0);
    expect(numCached(again.stderr)).toBeLessThan(2 * NUM_ROWS);
    expect(again.stdout).toBe(whole.stdout);
    for (const file of ['results.json', 'tasks/piqa.json']) {
      expect(readFileSync(join(folder, 'stopped/out', file), 'utf8')).toBe(
        readFileSync(join(folder, 'whole/out', file), 'utf8'),
      );
    }
    const third = await finish('stopped');
    expect(numCached(third.stderr)).toBe(2 * NUM_ROWS);
    expect(third.stdout).toBe(whole.stdout);
  });
});
