/** Who holds a lock, and whether that process can still be there. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { hostname } from 'node:os';
import { dirname } from 'node:path';

/** The content of a lock, as JSON. */
export interface Holder {
  /** Drawn for each lock: no two have the same. */
  token: string;
  pid: number;
  host: string;
  /** Of this start of this machine; null where the system does not tell. */
  boot: string | null;
  /** In which a pid and a start time mean something; null where there is no telling. */
  namespaces: string | null;
  /** When the process started, so that a reused pid is not taken for it; null where it cannot be told. */
  started: string | null;
  /** Device and inode of the locked folder: elsewhere its sockets may be another's. */
  folder: string;
}

/** Whether a holder is there: `unknown` of another machine, or of a container that cannot be looked into. */
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

/** The holder in a lock's text; undefined where it is torn. */
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
 * Whether the holder of `lock` is there.
 *
 * In the same pid namespace of the same boot, pid and start time tell. In another namespace of the same boot, such as
 * another container, the holder's socket does: the kernel answers for a process that is stopped, and refuses for one
 * that is gone. Host names tell nothing: two containers can have one, and a machine gets another.
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

/** Linux finds sockets by their inode, whichever network or pid namespace asks. */
const HAS_SOCKETS = process.platform === 'linux';

/**
 * Listens on the holder's socket beside `lock`, as long as this process is there; returns what ends it. Where the file
 * system has no sockets there is none, and others watch the lock's heartbeat.
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

/** Name of the socket of a lock's holder, beside the lock. */
export function socketOf(lock: string, token: string): string {
  return `${lock}.${token.replace(/\W/g, '')}.sock`;
}

/** A socket's path may have a hundred bytes only: it is named through the open folder. */
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

/** The namespaces of pids and of the clock that start times count on; macOS has none, so one for all. */
function ownNamespaces(): string | null {
  try {
    if (process.platform === 'darwin') return 'darwin';
    return ['pid', 'time'].map((name) => readlinkSync(`/proc/self/ns/${name}`)).join(' ');
  } catch {
    return null;
  }
}

/** Whether /proc shows the pids of this process's own namespace, and not those of one around it. */
function seesOwnProcesses(): boolean {
  if (process.platform === 'darwin') return true;
  return /^NSpid:\s+\d+$/m.test(readFileSync('/proc/self/status', 'utf8'));
}

/** When a process started; null where that cannot be told. A zombie's is that of no process. */
function startTime(pid: number | 'self'): string | null {
  try {
    if (process.platform === 'darwin') {
      return run('ps', '-o', 'lstart=', '-p', String(pid === 'self' ? process.pid : pid)) || null;
    }
    // Fields 3 and 22, counted after the parenthesised command name, which may hold spaces: state, and ticks from boot
    // to start. A killed process stays as a zombie until its parent asks after it.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? 'ended' : fields[19];
  } catch {
    return null;
  }
}

/** What a program prints, the same in every locale and time zone. */
function run(program: string, ...args: string[]): string {
  const env = { ...process.env, LC_ALL: 'C', TZ: 'UTC' };
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], env }).trim();
}
