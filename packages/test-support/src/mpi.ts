/** Programs as users start them on several ranks: mpirun, its ranks' processes, and their output. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** What starts ranks where a test names no launcher; `MPIRUN=mpiexec.mpich` runs all tests on ranks with that. */
const LAUNCHER = process.env.MPIRUN || 'mpirun';

/** Flags with which a launcher starts more ranks than there are cores, as root too; undefined where it is not here. */
export function mpirunFlags(launcher = LAUNCHER): string[] | undefined {
  try {
    execFileSync(process.env.MPICXX || 'mpicxx', ['-show'], { stdio: 'ignore' });
    const version = execFileSync(launcher, ['--version'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return version.includes('Open MPI') ? ['--oversubscribe', '--allow-run-as-root'] : [];
  } catch {
    return undefined;
  }
}

/** Ranks that are running. */
export interface RunningRanks {
  mpirun: ChildProcess;
  /** What all of them wrote so far. */
  output: { stdout: string; stderr: string };
  /** The exit code of `mpirun`, or the signal that ended it. */
  ended: Promise<number | string>;
  /** Waits for a condition, or for the end of a run that fails to meet it. */
  until(isMet: () => boolean): Promise<void>;
  /** The processes of the ranks, in no certain order; on Linux. */
  pids(): number[];
}

/** Starts a Node.js program on `numRanks` ranks. */
export function startRanks(
  numRanks: number,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  launcher = LAUNCHER,
): RunningRanks {
  const command = [...(mpirunFlags(launcher) ?? []), '-n', String(numRanks), process.execPath, ...args];
  const mpirun = spawn(launcher, command, { env: { ...process.env, CI: '1', ...env } });
  const output = { stdout: '', stderr: '' };
  mpirun.stdout.on('data', (chunk) => {
    output.stdout += chunk;
  });
  mpirun.stderr.on('data', (chunk) => {
    output.stderr += chunk;
  });
  let isOver = false;
  const ended = new Promise<number | string>((resolve) => {
    mpirun.on('close', (code, signal) => {
      isOver = true;
      resolve(code ?? signal ?? -1);
    });
  });
  return {
    mpirun,
    output,
    ended,
    async until(isMet) {
      while (!isMet() && !isOver) await sleep(5);
    },
    // MPICH has a proxy process in between.
    pids: () => descendants(mpirun.pid!).filter((pid) => commandOf(pid).startsWith(process.execPath)),
  };
}

function descendants(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return children === ''
    ? []
    : children.split(' ').flatMap((child) => [Number(child), ...descendants(Number(child))]);
}

function commandOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
}
