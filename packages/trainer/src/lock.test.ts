import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RunLockedError, TrainerError } from './errors.ts';
import { acquireLock } from './lock.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'meap-lock-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const lockOf = () => join(directory, 'run.lock');
const write = (holder: unknown) => writeFileSync(lockOf(), JSON.stringify(holder));

describe('acquireLock', () => {
  it('refuses a second holder and names the first, until it is released', () => {
    const release = acquireLock(directory);
    expect(() => acquireLock(directory)).toThrow(RunLockedError);
    expect(() => acquireLock(directory)).toThrow(`held by process ${process.pid} on ${hostname()}`);
    release();
    acquireLock(directory)();
    expect(readdirSync(directory)).toEqual([]);
  });

  it('takes over a lock whose process is gone, whose pid was reused, or whose text is torn', () => {
    // Above every pid_max, so no process can have it.
    for (const stale of [
      { pid: 2 ** 22 + 5, started: 'x', host: hostname() },
      { pid: process.pid, started: 'another boot:1', host: hostname() },
      '',
    ]) {
      if (stale === '') writeFileSync(lockOf(), '');
      else write(stale);
      const release = acquireLock(directory);
      expect(JSON.parse(readFileSync(lockOf(), 'utf8'))).toMatchObject({ pid: process.pid });
      release();
      expect(existsSync(lockOf())).toBe(false);
      expect(readdirSync(directory)).toEqual([]);
    }
  });

  it('respects a lock of another host, and of a live process whose start cannot be told', () => {
    for (const holder of [
      { pid: 2 ** 22 + 5, started: 'x', host: 'elsewhere' },
      { pid: process.pid, started: null, host: hostname() },
    ]) {
      write(holder);
      expect(() => acquireLock(directory)).toThrow(RunLockedError);
      expect(JSON.parse(readFileSync(lockOf(), 'utf8'))).toEqual(holder);
      expect(readdirSync(directory)).toEqual(['run.lock']);
    }
  });

  it.skipIf(process.platform !== 'linux')('takes over the lock of a killed process not yet reaped', () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    const stat = () => readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1].split(' ');
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    write({ pid: child.pid, started: `${boot}:${stat()[19]}`, host: hostname() });
    expect(() => acquireLock(directory)).toThrow(RunLockedError);
    child.kill('SIGKILL');
    // Without a turn of the event loop nobody reaps it.
    while (stat()[0] !== 'Z');
    acquireLock(directory)();
  });

  it('makes the folder, and says in one line when it cannot', () => {
    acquireLock(join(directory, 'a', 'b'))();
    expect(existsSync(join(directory, 'a', 'b'))).toBe(true);
    writeFileSync(join(directory, 'file'), '');
    const attempt = () => acquireLock(join(directory, 'file'));
    expect(attempt).toThrow(TrainerError);
    expect(attempt).toThrow(/^train: the run directory .*file cannot be used: EEXIST.*$/);
  });
});
