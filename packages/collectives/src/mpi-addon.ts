import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { CollectivesError } from './errors.ts';

/** Operations by their number in native/mpi.cpp. */
export const KIND = { allReduce: 0, reduceScatter: 1, allGather: 2, broadcast: 3, barrier: 4 } as const;

/** The binding, as native/mpi.cpp exposes it. */
export interface MpiAddon {
  start(): [rank: number, size: number, library: string];
  submit(
    kind: number,
    root: number,
    timeoutSeconds: number,
    send?: ArrayBufferView,
    receive?: ArrayBufferView,
  ): Promise<void>;
  stop(): void;
  /** Whether operations are outstanding, for whose end the process has to stay. */
  hold(on: boolean): void;
}

/** Loads the binding, building it first where MPI came after this package. */
export function loadMpiAddon(): MpiAddon {
  const path = fileURLToPath(new URL('../build/meap_mpi.node', import.meta.url));
  if (!existsSync(path)) {
    const script = fileURLToPath(new URL('../native/build.mjs', import.meta.url));
    execFileSync(process.execPath, [script], { stdio: ['ignore', 'ignore', 'inherit'] });
  }
  try {
    return createRequire(import.meta.url)(path) as MpiAddon;
  } catch (cause) {
    throw new CollectivesError(
      `collectives: launched as one of several ranks, but there is no MPI binding (${(cause as Error).message.split('\n')[0]}); ` +
        'install Open MPI or MPICH with its headers and a C++17 compiler, and run npm rebuild @meap/collectives',
      { cause },
    );
  }
}
