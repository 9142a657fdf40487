import fc from 'fast-check';
import { expect, it } from 'vitest';
import { CollectivesError, connect, launched, singleProcess } from './index.ts';

it('a single rank: sums and gathered values are its own', async () => {
  const ranks = singleProcess();
  expect([ranks.rank, ranks.size, ranks.library]).toEqual([0, 1, 'single process']);
  await fc.assert(
    fc.asyncProperty(fc.float32Array(), async (given) => {
      const values = given.slice();
      await ranks.allReduce(values);
      await ranks.broadcast(values);
      await ranks.barrier();
      expect(values).toEqual(given);
      const [own, all] = [new Float32Array(given.length), new Float32Array(given.length)];
      await ranks.reduceScatter(values, own);
      await ranks.allGather(own, all);
      expect(all).toEqual(given);
      await ranks.allGather(all, all);
      expect(all).toEqual(given);
    }),
  );
});

it('a single rank refuses the same arguments as several', async () => {
  const ranks = singleProcess();
  await expect(ranks.reduceScatter(new Float32Array(4), new Float32Array(2))).rejects.toThrow(
    CollectivesError,
  );
  await expect(ranks.allGather(new Uint8Array(1), new Uint8Array(2))).rejects.toThrow(
    'got 1 elements per rank',
  );
  await expect(ranks.broadcast(new Float32Array(1), 1)).rejects.toThrow(
    'got root 1, expected a rank from 0 to 0',
  );
  await expect(ranks.allReduce(new Uint8Array(1) as never)).rejects.toThrow('allReduce: got Uint8Array');
});

it('a process without a launcher is a single rank; invalid timeouts are refused', async () => {
  expect(launched({})).toBeUndefined();
  const openMpi = { OMPI_COMM_WORLD_SIZE: '4', OMPI_COMM_WORLD_RANK: '2', OMPI_COMM_WORLD_LOCAL_SIZE: '2' };
  expect(launched(openMpi)).toEqual({ rank: 2, size: 4, local: 2 });
  expect(launched({ PMI_SIZE: '8', PMI_RANK: '3', MPI_LOCALNRANKS: '4' })).toEqual({
    rank: 3,
    size: 8,
    local: 4,
  });
  const slurm = { PMIX_RANK: '0', SLURM_NTASKS: '11', SLURM_STEP_TASKS_PER_NODE: '3,4(x2)' };
  expect(launched(slurm)).toEqual({ rank: 0, size: 11, local: 4 });
  // A batch script in a Slurm allocation is not a rank.
  expect(launched({ SLURM_NTASKS: '2', SLURM_PROCID: '0' })).toBeUndefined();
  expect((await connect()).size).toBe(1);
  await expect(connect({ timeoutSeconds: 0 })).rejects.toThrow('got timeoutSeconds 0');
});
