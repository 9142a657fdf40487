/**
 * One process a folder: `run.lock`, on whichever machine, in whichever container.
 *
 *     run.lock                the holder, as JSON; its time of change moves on while the holder lives
 *     run.lock.TOKEN.sock     a socket of the holder, for other containers of the same machine to knock at
 *     run.lock.after-ID       the one heir of a holder that is gone, while it takes over
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

/** A folder that is this process's own. */
export interface RunLock {
  /** The file, and what has to stand in it. */
  readonly mark: LockMark;
  /**
   * Makes sure that the folder is still this process's; looks at most once a second. A lock that was deleted is put back.
   *
   * @throws RunLockedError where another process has taken it over, since this one stood still for too long
   */
  requireHeld(): void;
  /** Gives the folder up; one that is no longer this process's is left alone. */
  release(): void;
}

/** What shows that a lock is still held; plain data, for other threads. */
export interface LockMark {
  path: string;
  text: string;
}

/** Options of {@link acquireLock}. */
export interface LockOptions {
  /** Told once, in one line, where the holder cannot be seen from here and its heartbeat has to be waited for. */
  onWait?: (message: string) => void;
  /** Ends the waiting. */
  signal?: AbortSignal;
}

/** A holder beats every `beat` milliseconds; one whose lock stands still through `patience`, looked at every `look`, is gone. */
const TIMING = { beat: 3000, look: 1000, patience: 60_000 };

/**
 * Makes a folder and takes `run.lock` in it, or throws RunLockedError naming the process that holds it.
 *
 * A lock whose process is gone (kill -9, power loss) is taken over: at once on the machine and boot it was taken on,
 * also from another container; from elsewhere after a minute without a heartbeat. Of many that try, one succeeds. No
 * clock is compared with another.
 */
export async function acquireLock(
  directory: string,
  { onWait = () => {}, signal }: LockOptions = {},
  timing = TIMING,
): Promise<RunLock> {
  try {
    makeDirectory(directory);
    const path = join(directory, 'run.lock');
    const holder = describeSelf(path);
    const mark = { path, text: JSON.stringify(holder) };
    // Before the lock is seen, so that whoever finds it can ask.
    const closeSocket = openSocket(path, holder);
    try {
      await take(mark, holder, { onWait, signal, timing });
    } catch (error) {
      closeSocket();
      throw error;
    }
    return holdLock(mark, closeSocket, timing.beat);
  } catch (error) {
    if (error instanceof TrainerError) throw error;
    const message = `train: the run directory ${directory} cannot be used: ${(error as Error).message}`;
    throw new TrainerError(message, { cause: error });
  }
}

/** Throws RunLockedError where a lock is no longer held; one that was deleted is put back. */
export function requireMark({ path, text }: LockMark): void {
  let found: string | undefined;
  try {
    found = look(path)?.text;
  } catch {
    // No file can be opened now, or the disk fails: that says nothing of the lock, and no more is written than before.
    return;
  }
  // A folder that vanished is told of by whoever writes into it.
  if (found === text || !existsSync(join(path, '..'))) return;
  if (found === undefined && putBack({ path, text })) return;
  const holder = parseHolder(look(path)?.text ?? '');
  throw new RunLockedError(
    `train: ${path} was taken over by ${holder ? `process ${holder.pid} on ${holder.host}` : 'another process'} while ` +
      'this process stood still, expected it to be held to the end: nothing more is written here; the other run goes on',
  );
}

type Waiting = Required<Pick<LockOptions, 'onWait'>> & { signal?: AbortSignal; timing: typeof TIMING };

/**
 * Puts the lock in place. A holder that is gone has one heir, whoever first links the file named after it; an heir that is
 * gone too has one in turn. The last of them renames its own file over the lock, which is never absent in between.
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
        // What was there then is still there: nobody else may replace it, and who did is seen here.
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

/** Becomes the heir of a lock; returns the files to clear away, or undefined where the lock has changed meanwhile. */
async function inherit(
  own: string,
  path: string,
  first: Sight,
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

/** Whether the holder in `at` is gone; false where the file has changed hands. Throws RunLockedError for one that lives. */
async function isGone(path: string, at: string, found: Sight, waiting: Waiting): Promise<boolean> {
  const { onWait, signal, timing } = waiting;
  const holder = parseHolder(found.text);
  for (let still = 0; still < timing.patience; still += timing.look) {
    const verdict = await judge(path, holder);
    if (verdict === 'gone') return true;
    if (verdict === 'alive' || signal?.aborted) throw lockedError(path, holder);
    if (still === 0) {
      const who = holder ? `process ${holder.pid} on ${holder.host}` : 'a process that left it torn';
      onWait(
        `${path} is of ${who}, which cannot be seen from here: taken over unless it changes within ` +
          `${timing.patience / 1000} seconds`,
      );
    }
    // Counted in looks, not by a clock: while this process stood still, the other may have too.
    await sleep(timing.look, undefined, { signal }).catch(() => {});
    const now = look(at);
    if (now?.text !== found.text) return false;
    if (now.state !== found.state) throw lockedError(path, holder);
  }
  return true;
}

/** A lock as it was found: its text, and what a heartbeat changes. */
interface Sight {
  text: string;
  state: string;
}

function look(path: string): Sight | undefined {
  try {
    // Opened, not only asked after: a network file system then looks at the server.
    const file = openSync(path, 'r');
    try {
      const { ino, mtimeMs } = fstatSync(file);
      return { text: readFileSync(file, 'utf8'), state: `${ino}:${mtimeMs}` };
    } finally {
      closeSync(file);
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Another machine may have deleted it just now.
    if (code === 'ENOENT' || code === 'ESTALE' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}

function holdLock(mark: LockMark, closeSocket: () => void, beat: number): RunLock {
  // A thread, since training may compute for minutes without a turn of its event loop.
  const heart = new Worker(HEART, { eval: true, workerData: { ...mark, beat }, execArgv: [] });
  heart.unref();
  heart.on('error', () => {});
  let isReleased = false;
  let [looked, clock] = [performance.now(), Date.now()];
  return {
    mark,
    requireHeld() {
      const [now, time] = [performance.now(), Date.now()];
      // Either clock may stand while the process, or the machine, sleeps.
      if (now - looked < 1000 && Math.abs(time - clock) < 1000) return;
      requireMark(mark);
      [looked, clock] = [now, time];
    },
    release() {
      if (isReleased) return;
      isReleased = true;
      void heart.terminate();
      closeSocket();
      try {
        if (look(mark.path)?.text === mark.text) rmSync(mark.path, { force: true });
      } catch {
        // A folder that can no longer be written keeps the lock of a process that will be gone.
      }
    },
  };
}

/**
 * Moves the lock's time of change on while the lock is its holder's. Not by the clock alone, which may stand or go back;
 * by two seconds at least, which every file system tells apart.
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
    // Nothing can be written here, so nobody else can take it either.
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
    // A reply that a network file system lost and asked for again says so of one's own link.
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
      'wait for it, or choose another folder',
  );
}
