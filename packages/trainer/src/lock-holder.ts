/** The holder of a lock, and whether its process is alive. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { hostname } from 'node:os';
import { dirname } from 'node:path';

/** The content of a lock, as JSON. */
export interface Holder {
  /** Random and unique per lock. */
  token: string;
  pid: number;
  host: string;
  /** Boot id of the machine; null if unknown. */
  boot: string | null;
  /** Namespaces in which pid and start time are valid; null if unknown. */
  namespaces: string | null;
  /** Start time of the process, to detect a reused pid; null if unknown. */
  started: string | null;
  /** Device and inode of the locked folder: a copy of the folder has other sockets. */
  folder: string;
}

/** Whether a holder is alive; `unknown` on another machine or in an inaccessible container. */
export type Verdict = 'alive' | 'gone' | 'unknown';

/** Describes this process as the holder of a lock. */
export function describeSelf(lock: string): Holder {
  const namespaces = ownNamespaces();
  return {
    token: randomBytes(8).toString('hex'),
    pid: process.pid,
    host: hostname(),
    boot: bootId(),
    namespaces,
    started: namespaces === null ? null : startTime('self'),
    folder: folderOf(lock),
  };
}

/** Parses the text of a lock; undefined if it is damaged. */
export function parseHolder(text: string): Holder | undefined {
  try {
    const { token, pid, host, ...rest } = JSON.parse(text);
    const isHolder =
      typeof token === 'string' && Number.isInteger(pid) && pid > 0 && typeof host === 'string';
    return isHolder ? { token, pid, host, ...rest } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Determines whether the holder of `lock` is alive.
 *
 * In the same pid namespace and boot, by pid and start time. In another namespace of the same boot, such as another
 * container, by the holder's socket: the kernel accepts connections for a stopped process and refuses them for one that
 * ended. Host names are not used: containers may share one, and a machine's may change.
 */
export async function judge(lock: string, holder: Holder | undefined): Promise<Verdict> {
  const boot = bootId();
  if (!holder || boot === null || holder.boot !== boot) return 'unknown';
  if (holder.namespaces !== null && holder.namespaces === ownNamespaces()) {
    const verdict = judgeProcess(holder);
    if (verdict !== 'unknown') return verdict;
  }
  return holder.folder === folderOf(lock) ? askSocket(lock, holder) : 'unknown';
}

function judgeProcess({ pid, started }: Holder): Verdict {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return 'gone';
  }
  if (started === null || !seesOwnProcesses()) return 'unknown';
  const now = startTime(pid);
  return now === null ? 'unknown' : now === started ? 'alive' : 'gone';
}

/** On Linux, sockets work across network and pid namespaces. */
const HAS_SOCKETS = process.platform === 'linux';

/**
 * Listens on the holder's socket beside `lock`; returns a function that closes it. On file systems without sockets, other
 * processes use the lock's heartbeat.
 */
export function openSocket(lock: string, { token }: Holder): () => void {
  if (!HAS_SOCKETS) return () => {};
  const folder = openSync(dirname(lock), 'r');
  const server = createServer((socket) => socket.destroy()).unref();
  const end = () => {
    server.close(() => closeSync(folder));
  };
  server.on('error', () => {});
  server.listen(socketPath(folder, lock, token));
  return end;
}

/** Returns the path of the socket of a lock's holder. */
export function socketOf(lock: string, token: string): string {
  return `${lock}.${token.replace(/\W/g, '')}.sock`;
}

/** Returns a path through the open folder: socket paths are limited to about a hundred bytes. */
function socketPath(folder: number, lock: string, token: string): string {
  return `/proc/self/fd/${folder}/${socketOf(lock, token).slice(dirname(lock).length + 1)}`;
}

function askSocket(lock: string, { token }: Holder): Promise<Verdict> {
  if (!HAS_SOCKETS) return Promise.resolve('unknown');
  const folder = openSync(dirname(lock), 'r');
  return new Promise<Verdict>((resolve) => {
    const socket = connect(socketPath(folder, lock, token));
    socket.on('connect', () => resolve('alive'));
    socket.on('error', ({ code }: NodeJS.ErrnoException) => {
      resolve(code === 'ECONNREFUSED' ? 'gone' : code === 'EAGAIN' ? 'alive' : 'unknown');
    });
    socket.on('close', () => closeSync(folder));
    socket.on('connect', () => socket.destroy());
  });
}

function folderOf(lock: string): string {
  const { dev, ino } = statSync(dirname(lock), { bigint: true });
  return `${dev}:${ino}`;
}

function bootId(): string | null {
  try {
    if (process.platform === 'linux') return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    if (process.platform === 'darwin') return run('sysctl', '-n', 'kern.bootsessionuuid') || null;
  } catch {}
  return null;
}

/** Returns the pid and time namespaces; macOS has only one. */
function ownNamespaces(): string | null {
  try {
    if (process.platform === 'darwin') return 'darwin';
    return ['pid', 'time'].map((name) => readlinkSync(`/proc/self/ns/${name}`)).join(' ');
  } catch {
    return null;
  }
}

/** Whether /proc shows the pids of this process's namespace rather than those of a parent namespace. */
function seesOwnProcesses(): boolean {
  if (process.platform === 'darwin') return true;
  return /^NSpid:\s+\d+$/m.test(readFileSync('/proc/self/status', 'utf8'));
}

/** Returns the start time of a process; null if unknown. A zombie counts as ended. */
function startTime(pid: number | 'self'): string | null {
  try {
    if (process.platform === 'darwin') {
      return run('ps', '-o', 'lstart=', '-p', String(pid === 'self' ? process.pid : pid)) || null;
    }
    // Fields 3 and 22, counted after the parenthesised command name, which may hold spaces: state, and ticks from boot
    // to start. A killed process is a zombie until its parent waits for it.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? 'ended' : fields[19];
  } catch {
    return null;
  }
}

/** Runs a program in a fixed locale and time zone; returns its output. */
function run(program: string, ...args: string[]): string {
  const env = { ...process.env, LC_ALL: 'C', TZ: 'UTC' };
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], env }).trim();
}
