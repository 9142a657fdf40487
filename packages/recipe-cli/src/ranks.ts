/** Commands on several ranks started by mpirun or srun. */
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { availableThreads } from '@meap/tensor-kernels';
import { connectRanks, type RankGroup } from '@meap/trainer';
import type { CommandIo } from './command.ts';

/** Output of a rank other than rank 0. */
export interface QuietIo extends CommandIo {
  /** Prints the collected errors with this rank's number after a pause, in which rank 0 may report the same and end all. */
  printErrors(): Promise<void>;
}

/** Discards the output of ranks other than rank 0 and collects their errors; undefined for rank 0. */
export function quietIo({ stderr }: CommandIo, rank: number): QuietIo | undefined {
  if (rank === 0) return undefined;
  let errors = '';
  const stream = (write: (text: string) => void) => ({
    write: (text: string) => {
      write(text);
      return true;
    },
  });
  return {
    stdout: stream(() => {}),
    stderr: stream((text) => {
      errors += text;
    }),
    async printErrors() {
      await sleep(GRACE_MS);
      for (const line of errors.split('\n').slice(0, -1)) stderr.write(`rank ${rank}: ${line}\n`);
    },
  };
}

/** Most errors occur on all ranks; one report is enough. */
const GRACE_MS = 2000;

/**
 * Connects the ranks of this run and assigns each its share of the machine's cores unless `MEAP_NUM_THREADS` is set.
 *
 * @throws CollectivesError if ranks were launched and MPI cannot be used
 */
export async function connectLaunched(timeoutSeconds: number, io: CommandIo): Promise<RankGroup> {
  const ranks = await connectRanks({ timeoutSeconds });
  if (ranks.size === 1 || process.env.MEAP_NUM_THREADS) return ranks;
  const usable = availableThreads();
  const share = Math.floor(cpus().length / ranks.numLocal);
  process.env.MEAP_NUM_THREADS = String(Math.max(1, Math.min(usable, share)));
  if (usable < share && ranks.isFirst) {
    io.stderr.write(
      `warning      the launcher binds each rank to ${usable} of ${cpus().length} cores, its share is ${share}: ` +
        'use mpirun --bind-to none\n',
    );
  }
  return ranks;
}
