/** Starts programs on several ranks with mpirun, as users do. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type RunningProcess, startProcess } from './process.ts';

/** Default launcher of ranks; `MPIRUN=mpiexec.mpich` selects another one for all tests. */
const LAUNCHER = process.env.MPIRUN || 'mpirun';

/** Flags that allow a launcher to start more ranks than cores, also as root; undefined if it is not installed. */
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
    // MPICH starts the ranks from a proxy process.
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
