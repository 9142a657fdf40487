/** Programs as users start them on several ranks: mpirun, its ranks' processes, and their output. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type RunningProcess, startProcess } from './process.ts';

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

/** The launcher of running ranks. */
export interface RunningRanks extends RunningProcess {
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
  const mpirun = startProcess(launcher, command, { env });
  return {
    ...mpirun,
    // MPICH has a proxy process in between.
    pids: () => descendants(mpirun.child.pid!).filter((pid) => commandOf(pid).startsWith(process.execPath)),
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
