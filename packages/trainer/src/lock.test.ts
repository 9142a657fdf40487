import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RunLockedError, TrainerError } from './errors.ts';
import { acquireLock, requireMark } from './lock.ts';
import { describeSelf } from './lock-holder.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'meap-lock-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const lockOf = () => join(directory, 'run.lock');
const holder = (changes: object) => JSON.stringify({ ...describeSelf(lockOf()), ...changes });
const write = (changes: object) => writeFileSync(lockOf(), holder(changes));
const read = () => JSON.parse(readFileSync(lockOf(), 'utf8'));
/** Waits for a heartbeat for as long as a test has. */
const quick = (options = {}) => acquireLock(directory, options, { beat: 10, look: 20, patience: 120 });
/** Fails the test where it would have to wait. */
const atOnce = () =>
  acquireLock(directory, {
    onWait: (message) => {
      throw new Error(message);
    },
  });

const isLinux = process.platform === 'linux';

describe('acquireLock', () => {
  it('refuses a second holder and names the first, until it is released', async () => {
    const lock = await acquireLock(directory);
    await expect(acquireLock(directory)).rejects.toThrow(RunLockedError);
    await expect(acquireLock(directory)).rejects.toThrow(`held by process ${process.pid} on ${hostname()}`);
    lock.release();
    (await acquireLock(directory)).release();
    expect(readdirSync(directory)).toEqual([]);
  });

  it.skipIf(!isLinux)(
    'takes over at once what is gone in this namespace or in another of this boot',
    async () => {
      const other = { namespaces: 'pid:[1] time:[1]' };
      // Above every pid_max, so no process can have it.
      for (const stale of [{ pid: 2 ** 22 + 5 }, { started: '1' }]) {
        write({ ...stale, host: 'the name before the last' });
        const lock = await atOnce();
        expect(read()).toMatchObject({ pid: process.pid, host: hostname() });
        lock.release();
        expect(readdirSync(directory)).toEqual([]);
      }
      const first = await acquireLock(directory);
      write({ ...read(), ...other });
      await expect(atOnce()).rejects.toThrow(RunLockedError);
      first.release();
    },
  );

  it('takes over a lock of unknown state without a heartbeat, and respects one with a heartbeat', async () => {
    for (const text of [
      '',
      '\0\0\0',
      '{"pid":1',
      'null',
      holder({ boot: 'another' }),
      holder({ boot: null }),
    ]) {
      writeFileSync(lockOf(), text);
      const beat = setInterval(() => utimesSync(lockOf(), 1, Math.random() * 1e6), 10);
      await expect(quick()).rejects.toThrow(RunLockedError);
      expect(readdirSync(directory)).toEqual(['run.lock']);
      clearInterval(beat);
      const waits: string[] = [];
      const lock = await quick({ onWait: (message: string) => waits.push(message) });
      expect(waits).toEqual([
        expect.stringMatching(/run\.lock is held by .* unless its heartbeat changes within 0\.12 seconds$/),
      ]);
      lock.release();
      expect(readdirSync(directory)).toEqual([]);
    }
  });

  it('has a heartbeat while held, independent of the clock', async () => {
    const lock = await quick();
    const times = new Set<number>();
    while (times.size < 4) {
      times.add(statSync(lockOf()).mtimeMs);
      await sleep(5);
    }
    lock.release();
  });

  it('of many that find a lock abandoned, and heirs of it that died too, one succeeds', async () => {
    for (const stale of [holder({ pid: 2 ** 22 + 5 }), holder({ boot: 'another' }), '']) {
      for (const heirs of [0, 1, 2]) {
        writeFileSync(lockOf(), stale);
        if (heirs > 0) {
          const { createHash } = await import('node:crypto');
          let text = stale;
          for (let i = 0; i < heirs; i++) {
            const id = createHash('sha256').update(text).digest('hex').slice(0, 16);
            text = holder({ pid: 2 ** 22 + 5 });
            writeFileSync(`${lockOf()}.after-${id}`, text);
          }
        }
        const tries = await Promise.allSettled(Array.from({ length: 12 }, () => quick()));
        const won = tries.filter((one) => one.status === 'fulfilled');
        expect(won).toHaveLength(1);
        for (const one of tries)
          if (one.status === 'rejected') expect(one.reason).toBeInstanceOf(RunLockedError);
        won[0].value.release();
        expect(readdirSync(directory)).toEqual([]);
      }
    }
  });

  it('detects a takeover, restores a deleted file, and does not release the lock of another process', async () => {
    const lock = await acquireLock(directory);
    rmSync(lockOf());
    requireMark(lock.mark);
    expect(readFileSync(lockOf(), 'utf8')).toBe(lock.mark.text);
    write({ pid: 12, host: 'elsewhere' });
    expect(() => requireMark(lock.mark)).toThrow(
      /was taken over by process 12 on elsewhere while this process was suspended/,
    );
    lock.release();
    expect(read()).toMatchObject({ pid: 12 });
  });

  it.skipIf(!isLinux)('takes over the lock of a killed process not yet reaped', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    const stat = () => readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1].split(' ');
    write({ pid: child.pid, started: stat()[19] });
    await expect(acquireLock(directory)).rejects.toThrow(RunLockedError);
    child.kill('SIGKILL');
    // Without a turn of the event loop nobody reaps it.
    while (stat()[0] !== 'Z');
    (await atOnce()).release();
  });

  it('creates the folder, or fails with one line', async () => {
    (await acquireLock(join(directory, 'a', 'b'))).release();
    expect(existsSync(join(directory, 'a', 'b'))).toBe(true);
    writeFileSync(join(directory, 'file'), '');
    const attempt = () => acquireLock(join(directory, 'file'));
    await expect(attempt()).rejects.toThrow(TrainerError);
    await expect(attempt()).rejects.toThrow(/^train: the run directory .*file cannot be used: EEXIST.*$/);
  });
});
