/** Ranks that mpirun starts, with the built package. */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';

const program = fileURLToPath(new URL('../fixtures/rank.mjs', import.meta.url));
const addon = fileURLToPath(new URL('../build/meap_mpi.node', import.meta.url));

/** Flags to start more ranks than there are cores, as root too. */
function launcher(): { command: string; flags: string[] } | undefined {
  if (!existsSync(addon)) return undefined;
  try {
    const command = process.env.MPIRUN || 'mpirun';
    const version = execFileSync(command, ['--version'], { encoding: 'utf8' });
    return {
      command,
      flags: /Open MPI/.test(version) ? ['--oversubscribe', '--allow-run-as-root'] : [],
    };
  } catch {
    return undefined;
  }
}

const mpi = launcher();
if (!mpi) console.warn('ranks are not launched: no mpirun, or no MPI when this package was installed');

interface Outcome {
  code: number;
  seconds: number;
  ranks: Record<string, unknown>[];
  stderr: string;
}

function launch(numRanks: number, ...args: string[]): Promise<Outcome> {
  const { command, flags } = mpi!;
  const started = performance.now();
  return new Promise((resolve) => {
    const child = execFile(
      command,
      [...flags, '-n', String(numRanks), process.execPath, program, ...args],
      (error, stdout, stderr) => {
        const ranks = stdout
          .split('\n')
          .filter((line) => line.startsWith('{'))
          .map((line) => JSON.parse(line) as Record<string, unknown>)
          .sort((a, b) => Number(a.rank) - Number(b.rank));
        const code = error ? Number(error.code) || 1 : 0;
        resolve({ code, seconds: (performance.now() - started) / 1000, ranks, stderr });
      },
    );
    child.stdin?.end();
  });
}

describe.skipIf(!mpi).each([2, 3])('%d ranks', (numRanks) => {
  let outcome: Outcome;
  beforeAll(async () => {
    outcome = await launch(numRanks, 'sums');
  });
  const all = <T>(value: T) => new Array<T>(numRanks).fill(value);

  it('every operation gives the expected values', () => {
    const { code, ranks, stderr } = outcome;
    expect(code, stderr).toBe(0);
    expect(ranks.map(({ rank, size }) => [rank, size])).toEqual(
      Array.from({ length: numRanks }, (_, rank) => [rank, numRanks]),
    );
    for (const { worst } of ranks) expect(worst).toBeLessThan(1);
    expect(ranks.map(({ text }) => text)).toEqual(all('from rank 0'));
  });

  it('sums of large arrays are exact', () => {
    expect(outcome.ranks.map(({ wrong }) => wrong)).toEqual(all([0, 0]));
  });

  it('sums have the same bits on every rank and in every run', async () => {
    const again = await launch(numRanks, 'bits');
    const hashes = [...outcome.ranks, ...again.ranks].map(({ hash }) => hash);
    expect(hashes).toHaveLength(2 * numRanks);
    expect(new Set(hashes).size).toBe(1);
  });
});

describe.skipIf(!mpi)('ranks', () => {
  it('communicate while JavaScript computes, in the order of the calls', async () => {
    const { ranks, stderr } = await launch(2, 'overlap');
    expect(ranks, stderr).toHaveLength(2);
    for (const { early, resolved, order } of ranks) {
      expect(early).toEqual(new Array(8).fill(true));
      expect(resolved).toBe(0);
      expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    }
  });

  it('of which one hangs: operations of the others fail after the timeout, and so do later ones', async () => {
    const { code, seconds, ranks } = await launch(3, 'gone', '2');
    expect(code).toBeGreaterThan(0);
    expect(seconds).toBeLessThan(50);
    expect(ranks.length).toBeGreaterThan(0);
    for (const { rank, first, second } of ranks) {
      expect(first).toBe(
        `CollectiveTimeoutError: allReduce: rank ${rank} of 3 has waited 2 s for the others: one of them ended, was ` +
          'stopped or cannot be reached; start the run again, it resumes from its last checkpoint',
      );
      expect(second).toContain('an earlier operation failed');
    }
  });

  it('of which one ends: the launcher ends the others', async () => {
    const { code, seconds } = await launch(2, 'gone', '30', 'exit');
    expect(code).toBeGreaterThan(0);
    expect(seconds).toBeLessThan(29);
  });

  it('refuse invalid arguments and continue', async () => {
    const { code, ranks, stderr } = await launch(2, 'misuse');
    expect(code, stderr).toBe(0);
    for (const { problems } of ranks) {
      expect(problems).toEqual([
        'CollectivesError: allReduce: got Uint8Array, expected Float32Array, Float64Array, or Uint16Array with the bits of bfloat16',
        'CollectivesError: reduceScatter: got 2 elements per rank and 3 in total, expected a total of 2 times as many for 2 ranks',
        'CollectivesError: allGather: got Float32Array and Float64Array, expected arrays of one type',
        'CollectivesError: broadcast: got root 2, expected a rank from 0 to 1',
        'CollectivesError: reduceScatter: got overlapping views of one buffer, expected separate memory',
        'CollectivesError: allGather: got overlapping views of one buffer, expected separate memory',
        'barrier: the connection is closed, expected it open',
      ]);
    }
  });
});
