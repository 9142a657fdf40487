import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { CollectivesError } from './errors.ts';

/** Numbers of the operations in native/mpi.cpp. */
export const KIND = { allReduce: 0, reduceScatter: 1, allGather: 2, broadcast: 3, barrier: 4 } as const;

/** The functions of native/mpi.cpp. */
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
  /** Keeps the process alive while operations are pending. */
  hold(on: boolean): void;
}

/** Returns the path of the binding to the launcher's MPI; of the only binding under `srun` or with one MPI. */
function addonPath({ OMPI_COMM_WORLD_SIZE, MPI_LOCALNRANKS } = process.env): string {
  const pathOf = (name: string) => fileURLToPath(new URL(`../build/${name}.node`, import.meta.url));
  const family = OMPI_COMM_WORLD_SIZE ? 'openmpi' : MPI_LOCALNRANKS ? 'mpich' : '';
  const own = pathOf(`meap_mpi.${family}`);
  return existsSync(own) ? own : pathOf('meap_mpi');
}

/** Loads the binding and compiles it first if necessary: package managers run no install scripts. */
export function loadMpiAddon(): MpiAddon {
  if (!existsSync(addonPath())) {
    const script = fileURLToPath(new URL('../native/build.mjs', import.meta.url));
    execFileSync(process.execPath, [script, '--if-possible'], { stdio: ['ignore', 'ignore', 'inherit'] });
  }
  try {
    return createRequire(import.meta.url)(addonPath()) as MpiAddon;
  } catch (cause) {
    throw new CollectivesError(
      `collectives: launched as one of several ranks without an MPI binding (${(cause as Error).message.split('\n')[0]}); ` +
        'install Open MPI or MPICH with headers and a C++17 compiler; `npx meap-build-mpi` reports what is missing',
      { cause },
    );
  }
}
