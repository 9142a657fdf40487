import { mkdirSync, rmSync } from 'node:fs';
import { MASKING_STRATEGIES } from '@meap/meap-masking';
import { createBatches } from '@meap/token-dataset';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadConfig } from '../load-config.ts';
import { readNpy, Workbench } from '../testing.ts';
import { batchSource, configuredMasker } from '../training/objective.ts';
import { type PreparedData, prepareData } from '../training/prepare-data.ts';
import { NpyWriter } from './npy.ts';
import { RowWriter, tokenDtype, trainRows } from './rows.ts';

const bench = new Workbench();
const T = 16;
const B = 12;
const config = loadConfig(bench.recipe, [`data.cache_dir=${bench.path('cache')}`]);
let data: PreparedData;
beforeAll(async () => {
  data = await prepareData(config);
});
afterAll(() => {
  data.close();
  bench.dispose();
});

it('writes the rows of each step with its mask, for any micro-batch size, steps and file size', async () => {
  const masking = fc.oneof(
    fc.record({ strategy: fc.constantFrom(...MASKING_STRATEGIES.filter((name) => name !== 'span')) }),
    fc.record({ strategy: fc.constant('span' as const), span_length: fc.integer({ min: 1, max: 4 }) }),
  );
  await fc.assert(
    fc.asyncProperty(
      masking,
      fc.double({ min: 0, max: 0.6, noNaN: true }),
      fc.constantFrom(1, 2, 3, 4, 6, 12),
      // Past the first epoch too.
      fc.nat(40),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 2000 }),
      async (strategy, ratio, micro, firstStep, steps, shardBytes) => {
        const masker = configuredMasker(
          { ...config, masking: { ...config.masking, ...strategy, ratio } },
          data.tokenizer,
        );
        const order = { ...data.trainSplit, seed: config.seed };
        const batches = createBatches(data.train.dataset, { ...order, batchSize: micro });
        const folder = bench.path('rows');
        rmSync(folder, { recursive: true, force: true });
        mkdirSync(folder);
        const writer = new RowWriter(folder, { rows: steps * B, length: T, dtype: '<u2', shardBytes });
        const microBatches = B / micro;
        const source = {
          batches: batchSource(batches, microBatches),
          masker,
          microBatches,
          firstStep,
          steps,
        };
        for await (const { inputs, targets } of trainRows(source)) await writer.write(inputs, targets);

        const read = (key: 'inputs' | 'targets') =>
          writer.finish().flatMap((shard) => readNpy(`${folder}/${shard[key].file}`).values);
        const single = createBatches(data.train.dataset, { ...order, batchSize: 1 });
        const expected = { inputs: [] as number[], targets: [] as number[] };
        for (let row = firstStep * B; row < (firstStep + steps) * B; row++) {
          const { inputs, targets } = single.batchAt(row);
          const key = { step: Math.floor(row / B), row: row % B };
          for (const position of masker.positions(inputs, key)) inputs[position] = masker.maskId;
          expected.inputs.push(...inputs);
          expected.targets.push(...targets);
        }
        expect(read('inputs')).toEqual(expected.inputs);
        expect(read('targets')).toEqual(expected.targets);
        for (const { rows } of writer.finish())
          expect(rows).toBeLessThanOrEqual(Math.max(1, shardBytes / (2 * T)));
      },
    ),
    { numRuns: 10 },
  );
});

it('uses 16 bits for vocabularies up to 65536 ids, else 32', () => {
  expect([300, 65_536, 65_537, 128_257].map(tokenDtype)).toEqual(['<u2', '<u2', '<i4', '<i4']);
});

it('keeps the values of every dtype', async () => {
  for (const [dtype, values] of [
    ['<u2', [0, 1, 65_535]],
    ['<i4', [0, 70_000, 2 ** 31 - 1]],
    ['<f8', [0, 0.1, 1e300]],
  ] as const) {
    const writer = await NpyWriter.create(bench.path(`values-${dtype.slice(1)}.npy`), dtype, [3]);
    await writer.write(values);
    await writer.close();
    expect(readNpy(writer.path)).toEqual({ descr: dtype, shape: [3], values });
  }
});

it('refuses to close a file with missing values', async () => {
  const writer = await NpyWriter.create(bench.path('short.npy'), '<u2', [2, 2]);
  await writer.write([1, 2]);
  await expect(writer.close()).rejects.toThrow(/short\.npy: 2 values are missing/);
  await expect(NpyWriter.create(bench.path('no/such.npy'), '<u2', [1])).rejects.toThrow(
    /such\.npy: cannot be written: ENOENT/,
  );
});
