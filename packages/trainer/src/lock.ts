/**
 * The lock of a run directory, across machines and containers.
 *
 *     run.lock                the holder, as JSON; its modification time is the heartbeat
 *     run.lock.TOKEN.sock     a socket of the holder, for other containers on the same machine
 *     run.lock.after-ID       the heir of a dead holder during the takeover
 */
import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fstatSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { makeDirectory } from '@meap/files';
import { RunLockedError, TrainerError } from './errors.ts';
import { describeSelf, type Holder, judge, openSocket, parseHolder, socketOf } from './lock-holder.ts';

/** A lock held by this process. */
export interface RunLock {
  /** The lock file and its expected content. */
  readonly mark: LockMark;
  /**
   * Checks that the lock is still held, at most once a second. Restores a deleted lock file.
   *
   * @throws RunLockedError if another process took the lock over while this one was suspended
   */
  requireHeld(): void;
  /** Releases the lock, unless another process has taken it over. */
  release(): void;
}

/** Identifies a held lock; plain data for other threads. */
export interface LockMark {
  path: string;
  text: string;
}

/** Options of {@link acquireLock}. */
export interface LockOptions {
  /** Called once with a message if the holder's process is inaccessible and its heartbeat must be awaited. */
  onWait?: (message: string) => void;
  /** Ends the waiting. */
  signal?: AbortSignal;
  /** Whether the lock is held for less than a second, so that it needs no heartbeat. */
  isBrief?: boolean;
}

/** Milliseconds between heartbeats, between two checks, and without a heartbeat until a holder counts as dead. */
const TIMING = { beat: 3000, look: 1000, patience: 60_000 };

/**
 * Creates a folder and acquires its `run.lock`.
 *
 * Takes over the lock of a dead process (kill -9, power failure): at once on the same machine and boot, also from another
 * container; otherwise after a minute without a heartbeat. Of several processes that try, one succeeds. Clocks of
 * different machines are never compared.
 *
 * @throws RunLockedError naming the process that holds the lock
 */
export async function acquireLock(
  directory: string,
  { onWait = () => {}, signal, isBrief = false }: LockOptions = {},
  timing = TIMING,
): Promise<RunLock> {
  try {
    makeDirectory(directory);
    const path = join(directory, 'run.lock');
    const holder = describeSelf(path);
    const mark = { path, text: JSON.stringify(holder) };
    // Opened before the lock becomes visible to other processes.
    const closeSocket = isBrief ? () => {} : openSocket(path, holder);
    try {
      await take(mark, holder, { onWait, signal, timing });
    } catch (error) {
      closeSocket();
      throw error;
    }
    return holdLock(mark, closeSocket, isBrief ? undefined : timing.beat);
  } catch (error) {
    if (error instanceof TrainerError) throw error;
    const message = `train: the run directory ${directory} cannot be used: ${(error as Error).message}`;
    throw new TrainerError(message, { cause: error });
  }
}

/** Restores a deleted lock file. @throws RunLockedError if the lock is no longer held */
export function requireMark({ path, text }: LockMark): void {
  let found: string | undefined;
  try {
    found = look(path)?.text;
  } catch {
    // Too many open files or a disk error says nothing about the lock.
    return;
  }
  // A missing folder is reported by the next write.
  if (found === text || !existsSync(join(path, '..'))) return;
  if (found === undefined && putBack({ path, text })) return;
  const holder = parseHolder(look(path)?.text ?? '');
  throw new RunLockedError(
    `train: ${path} was taken over by ${holder ? `process ${holder.pid} on ${holder.host}` : 'another process'} while ` +
      'this process was suspended, expected it to be held to the end: this run stops; the other continues',
  );
}

type Waiting = Required<Pick<LockOptions, 'onWait'>> & { signal?: AbortSignal; timing: typeof TIMING };

/**
 * Creates the lock file or takes it over. A dead holder has one heir: the first process to link the file named after the
 * holder. A dead heir has an heir in turn. The last heir renames its file over the lock, which always exists.
 */
async function take({ path, text }: LockMark, { token }: Holder, waiting: Waiting): Promise<void> {
  const own = `${path}.${token}`;
  try {
    writeFileSync(own, text);
    while (!tryLink(own, path)) {
      const first = look(path);
      const claims = first && (await inherit(own, path, first, waiting));
      if (!first || !claims) continue;
      try {
        // Only the heir may replace the lock; check that it has not changed.
        if (look(path)?.text !== first.text) continue;
        renameSync(own, path);
        return;
      } finally {
        for (const claim of claims) rmSync(claim, { force: true });
      }
    }
  } finally {
    rmSync(own, { force: true });
  }
}

/** Becomes the heir of a lock; returns the files to remove, or undefined if the lock has changed. */
async function inherit(
  own: string,
  path: string,
  first: LockState,
  waiting: Waiting,
): Promise<string[] | undefined> {
  const claims: string[] = [];
  for (let [at, found] = [path, first]; ; ) {
    if (!(await isGone(path, at, found, waiting))) return undefined;
    const holder = parseHolder(found.text);
    if (holder) claims.push(socketOf(path, holder.token));
    at = `${path}.after-${createHash('sha256').update(found.text).digest('hex').slice(0, 16)}`;
    const isHeir = tryLink(own, at);
    if (isHeir) return [...claims, at];
    const next = look(at);
    if (!next) return undefined;
    claims.push(at);
    found = next;
  }
}

/** Whether the holder in `at` is dead; false if the file has changed. @throws RunLockedError if the holder is alive */
async function isGone(path: string, at: string, found: LockState, waiting: Waiting): Promise<boolean> {
  const { onWait, signal, timing } = waiting;
  const holder = parseHolder(found.text);
  for (let still = 0; still < timing.patience; still += timing.look) {
    const verdict = await judge(path, holder);
    if (verdict === 'gone') return true;
    if (verdict === 'alive' || signal?.aborted) throw lockedError(path, holder);
    if (still === 0) {
      const who = holder ? `process ${holder.pid} on ${holder.host}` : 'an unknown process';
      onWait(
        `${path} is held by ${who}, whose state is unknown: taken over unless its heartbeat changes within ` +
          `${timing.patience / 1000} seconds`,
      );
    }
    // Counts checks instead of time: both processes may have been suspended together.
    await sleep(timing.look, undefined, { signal }).catch(() => {});
    const now = look(at);
    if (now?.text !== found.text) return false;
    if (now.state !== found.state) throw lockedError(path, holder);
  }
  return true;
}

/** The text of a lock file, and the state that a heartbeat changes. */
interface LockState {
  text: string;
  state: string;
}

function look(path: string): LockState | undefined {
  try {
    // Opened, so that a network file system asks the server.
    const file = openSync(path, 'r');
    try {
      const { ino, mtimeMs } = fstatSync(file);
      return { text: readFileSync(file, 'utf8'), state: `${ino}:${mtimeMs}` };
    } finally {
      closeSync(file);
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Another machine may have deleted it.
    if (code === 'ENOENT' || code === 'ESTALE' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}

function holdLock(mark: LockMark, closeSocket: () => void, beat: number | undefined): RunLock {
  const heart = beat === undefined ? undefined : startHeart(mark, beat);
  let isReleased = false;
  let [looked, clock] = [performance.now(), Date.now()];
  return {
    mark,
    requireHeld() {
      const [now, time] = [performance.now(), Date.now()];
      // Either clock may stop while the process or the machine sleeps.
      if (now - looked < 1000 && Math.abs(time - clock) < 1000) return;
      requireMark(mark);
      [looked, clock] = [now, time];
    },
    release() {
      if (isReleased) return;
      isReleased = true;
      void heart?.terminate();
      closeSocket();
      try {
        if (look(mark.path)?.text === mark.text) rmSync(mark.path, { force: true });
      } catch {
        // In a folder that is not writable, the lock stays; its process will be dead.
      }
    },
  };
}

/** Starts a thread, because training may block the event loop for minutes. */
function startHeart(mark: LockMark, beat: number): Worker {
  const heart = new Worker(HEART, { eval: true, workerData: { ...mark, beat }, execArgv: [] });
  heart.unref();
  heart.on('error', () => {});
  return heart;
}

/**
 * Advances the lock's modification time while the lock is held: by at least two seconds, the resolution of every file
 * system, because the clock may stop or go back.
 */
const HEART = `
const { closeSync, futimesSync, openSync, readFileSync } = require('node:fs');
const { path, text, beat } = require('node:worker_threads').workerData;
let at = Math.floor(Date.now() / 1000);
setInterval(() => {
  try {
    const file = openSync(path, 'r+');
    try {
      at = Math.max(at + 2, Math.floor(Date.now() / 1000));
      if (readFileSync(file, 'utf8') === text) futimesSync(file, at, at);
    } finally {
      closeSync(file);
    }
  } catch {}
}, beat);
`;

function putBack({ path, text }: LockMark): boolean {
  const own = `${path}.${randomBytes(8).toString('hex')}`;
  try {
    writeFileSync(own, text);
    return tryLink(own, path);
  } catch {
    // Not writable, so no other process can take it either.
    return true;
  } finally {
    rmSync(own, { force: true });
  }
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // A retried request of a network file system reports EEXIST for a link of this process.
    if (code === 'EEXIST') return statSync(from).ino === statSync(to, { throwIfNoEntry: false })?.ino;
    if (code === 'ENOENT') throw error;
    // File systems without hard links, such as exFAT and some network mounts.
    try {
      copyFileSync(from, to, constants.COPYFILE_EXCL);
      return true;
    } catch (copyError) {
      if ((copyError as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw copyError;
    }
  }
}

function lockedError(path: string, holder: Holder | undefined): RunLockedError {
  return new RunLockedError(
    `train: ${path} is held by process ${holder?.pid} on ${holder?.host}, expected no other run in this folder: ` +
      'wait for it to end, or choose another folder',
  );
}
