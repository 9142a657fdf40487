/** A command as one of several processes that mpirun or srun started. */
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { availableThreads } from '@meap/tensor-kernels';
import { connectRanks, type RankGroup } from '@meap/trainer';
import type { CommandIo } from './command.ts';

/** What a rank other than the first has to say, and when. */
export interface QuietIo extends CommandIo {
  /** Waits for rank 0 to say the same and end all, and where it does not, writes the errors under this rank's number. */
  complain(): Promise<void>;
}

/** Where a rank other than the first writes: nowhere, but for errors at its end. Undefined where this is rank 0. */
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
    async complain() {
      await sleep(GRACE_MS);
      for (const line of errors.split('\n').slice(0, -1)) stderr.write(`rank ${rank}: ${line}\n`);
    },
  };
}

/** As a rule what fails on one rank fails on all: once is enough to read. */
const GRACE_MS = 2000;

/**
 * Connects the ranks of this run, and gives each its share of the machine's cores unless `MEAP_NUM_THREADS` is set.
 *
 * @throws CollectivesError where ranks were launched but MPI cannot be used
 */
export async function connectLaunched(timeoutSeconds: number, io: CommandIo): Promise<RankGroup> {
  const ranks = await connectRanks({ timeoutSeconds });
  if (ranks.size === 1 || process.env.MEAP_NUM_THREADS) return ranks;
  const usable = availableThreads();
  const share = Math.floor(cpus().length / ranks.numLocal);
  process.env.MEAP_NUM_THREADS = String(Math.max(1, Math.min(usable, share)));
  if (usable < share && ranks.isFirst) {
    io.stderr.write(
      `warning      the launcher bound each rank to ${usable} of ${cpus().length} cores, of which it could have ${share}: ` +
        'mpirun --bind-to none lets it\n',
    );
  }
  return ranks;
}
