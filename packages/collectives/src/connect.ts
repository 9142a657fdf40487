import {
  isInPlace,
  requireApart,
  requireCount,
  requireLengths,
  requireRoot,
  requireSummable,
} from './checks.ts';
import type { Collectives, Exchangeable } from './collectives.ts';
import { CollectivesError, CollectiveTimeoutError } from './errors.ts';
import { KIND, loadMpiAddon, type MpiAddon } from './mpi-addon.ts';
import { singleProcess } from './single-process.ts';

/** Options of {@link connect}. */
export interface ConnectOptions {
  /** Seconds that an operation, once begun, waits for the other ranks; 600 by default. */
  timeoutSeconds?: number;
}

/** A rank as its launcher describes it. */
export interface Launched {
  /** This process, from 0. */
  rank: number;
  size: number;
  /** Most ranks on one machine. */
  local: number;
}

/**
 * Returns this process's rank from the variables of its launcher: `mpirun` of Open MPI or MPICH, or `srun` with PMI-2 or
 * PMIx. Undefined without a launcher. Does not load MPI.
 */
export function launched(
  env: Readonly<Record<string, string | undefined>> = process.env,
): Launched | undefined {
  const size = env.OMPI_COMM_WORLD_SIZE ?? env.PMI_SIZE ?? (env.PMIX_RANK ? env.SLURM_NTASKS : undefined);
  if (size === undefined) return undefined;
  const rank = env.OMPI_COMM_WORLD_RANK ?? env.PMI_RANK ?? env.PMIX_RANK ?? env.SLURM_PROCID;
  const local = env.OMPI_COMM_WORLD_LOCAL_SIZE ?? env.MPI_LOCALNRANKS;
  return { rank: Number(rank), size: Number(size), local: Number(local ?? maxTasksPerNode(env) ?? size) };
}

/** Returns the largest number of tasks on a node from Slurm's format, such as `4(x2),3`. */
function maxTasksPerNode({
  SLURM_STEP_TASKS_PER_NODE: tasks,
}: Readonly<Record<string, string | undefined>>): number | undefined {
  return tasks ? Math.max(...tasks.split(',').map((count) => Number.parseInt(count, 10))) : undefined;
}

let connection: Collectives | undefined;

/**
 * Connects the ranks that `mpirun` or `srun` started; a process without a launcher is a single rank.
 *
 * A process has one connection: a second call returns it again. As in MPI, it cannot be reopened after `close`.
 *
 * @throws CollectivesError if ranks were launched and MPI cannot be used
 */
export async function connect({ timeoutSeconds = 600 }: ConnectOptions = {}): Promise<Collectives> {
  if (!(timeoutSeconds > 0)) {
    throw new CollectivesError(
      `connect: got timeoutSeconds ${timeoutSeconds}, expected a number of seconds above 0`,
    );
  }
  const expected = launched()?.size;
  connection ??=
    expected === undefined ? singleProcess() : connectMpi(loadMpiAddon(), expected, timeoutSeconds);
  return connection;
}

function connectMpi(addon: MpiAddon, expected: number, timeoutSeconds: number): Collectives {
  const [rank, size, version] = addon.start();
  const library = version.replaceAll('\0', '').split(/[\n,]/)[0].replace(/\s+/g, ' ').trim();
  if (size !== expected) {
    // To the library of another MPI, each launched process looks like a single rank.
    throw new CollectivesError(
      `connect: the launcher started ${expected} ranks and ${library} sees ${size}: launcher and library belong to different MPIs; ` +
        'build the binding with the compiler of the launcher’s MPI: MPICXX=… npx meap-build-mpi',
    );
  }
  let outstanding = 0;
  let closed = false;

  async function run(
    operation: keyof typeof KIND,
    root: number,
    send?: Exchangeable,
    receive?: Exchangeable,
  ): Promise<void> {
    if (closed) throw new CollectivesError(`${operation}: the connection is closed, expected it open`);
    if (outstanding++ === 0) addon.hold(true);
    try {
      await addon.submit(KIND[operation], root, timeoutSeconds, send, receive);
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      if (code === 'TIMEOUT') {
        throw new CollectiveTimeoutError(
          `${operation}: rank ${rank} of ${size} has waited ${timeoutSeconds} s for the others: one of them ended, was ` +
            'stopped or cannot be reached; start the run again, it resumes from its last checkpoint',
          { cause },
        );
      }
      throw new CollectivesError(`${operation}: rank ${rank} of ${size}: ${message}`, { cause });
    } finally {
      if (--outstanding === 0) addon.hold(false);
    }
  }

  return {
    rank,
    size,
    library,
    async allReduce(values) {
      requireSummable('allReduce', values);
      requireCount('allReduce', values);
      await run('allReduce', 0, values, values);
    },
    async reduceScatter(values, own) {
      requireSummable('reduceScatter', values);
      requireLengths('reduceScatter', values, own, size);
      requireApart('reduceScatter', values, own);
      await run('reduceScatter', 0, values, own);
    },
    async allGather(own, values) {
      requireLengths('allGather', values, own, size);
      if (!isInPlace(values, own, rank)) requireApart('allGather', values, own);
      await run('allGather', 0, own, values);
    },
    async broadcast(values, root = 0) {
      requireRoot(root, size);
      requireCount('broadcast', values);
      await run('broadcast', root, values, values);
    },
    barrier: () => run('barrier', 0),
    async close() {
      if (closed) return;
      closed = true;
      addon.stop();
    },
  };
}
