import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Batch, type BatchesState, type BatchOptions, createBatches, permutation } from './batches.ts';
import { selectBlocks } from './blocks.ts';
import type { TokenDataset } from './dataset.ts';
import { DatasetError } from './errors.ts';
import { fixtureDocuments, openForTest, prepareDocuments } from './testing.ts';

/** A stream of known tokens, 0 1 2 3 …, each standing for two bytes of text. */
function countingDataset(numTokens: number, fingerprint = 'a'): TokenDataset {
  const unused = () => {
    throw new Error('not used by batches');
  };
  return {
    directory: 'counting',
    fingerprint,
    numTokens,
    numDocuments: 1,
    numBytes: 2 * numTokens,
    vocabSize: numTokens,
    maxTokenId: numTokens - 1,
    readTokens: (start, length) => Int32Array.from({ length }, (_, i) => start + i),
    bytesOfTokens: (_start, length) => 2 * length,
    readDocument: unused,
    close: unused,
  };
}

const take = (batches: Iterator<Batch>, count: number) =>
  Array.from({ length: count }, () => batches.next().value);

/** Number of the block that each row is. */
function blocksOf(batch: Batch): number[] {
  return Array.from(
    { length: batch.rows },
    (_, row) => batch.inputs[row * batch.length] / (batch.length + 1),
  );
}

const options = fc.record({
  sequenceLength: fc.integer({ min: 1, max: 7 }),
  batchSize: fc.integer({ min: 1, max: 9 }),
  seed: fc.integer(),
  shuffle: fc.boolean(),
  split: fc.constantFrom('all' as const, 'train' as const, 'validation' as const),
  validationFraction: fc.constantFrom(0.1, 0.3, 0.5),
});

describe('batches', () => {
  test('property: rows are blocks of T + 1 tokens, targets one ahead of inputs', () => {
    fc.assert(
      fc.property(options, fc.integer({ min: 0, max: 1000 }), (chosen, index) => {
        const dataset = countingDataset(100);
        const batch = createBatches(dataset, chosen).batchAt(index);
        const { length, rows, inputs, targets } = batch;
        expect([length, rows]).toEqual([chosen.sequenceLength, chosen.batchSize]);
        expect([...targets]).toEqual([...inputs].map((token) => token + 1));
        expect(blocksOf(batch).every(Number.isInteger)).toBe(true);
        expect(batch.firstRow).toBe(index * chosen.batchSize);
        expect(batch.numBytes).toBe(2 * rows * length);
      }),
    );
  });

  test('property: every epoch has each block of the split once, across batches', () => {
    fc.assert(
      fc.property(options, (chosen) => {
        const dataset = countingDataset(100);
        const batches = createBatches(dataset, chosen);
        const { rowsPerEpoch } = batches;
        const { numBlocks } = selectBlocks(dataset, chosen);
        expect(rowsPerEpoch).toBe(numBlocks);
        const drawn = take(batches, Math.ceil((3 * rowsPerEpoch) / chosen.batchSize));
        const rows = drawn.flatMap(blocksOf);
        const epochs = [0, 1, 2].map((epoch) => rows.slice(epoch * rowsPerEpoch, (epoch + 1) * rowsPerEpoch));
        const sorted = epochs.map((epoch) => epoch.toSorted((a, b) => a - b));
        expect(sorted[1]).toEqual(sorted[0]);
        expect(sorted[2]).toEqual(sorted[0]);
        expect(new Set(sorted[0]).size).toBe(rowsPerEpoch);
        for (const { epoch, firstRow } of drawn) expect(epoch).toBe(Math.floor(firstRow / rowsPerEpoch));
        if (!chosen.shuffle) expect(epochs[0]).toEqual(sorted[0]);
      }),
    );
  });

  test('property: train and validation share no block and validation comes last', () => {
    fc.assert(
      fc.property(options, (chosen) => {
        const draw = (split: 'all' | 'train' | 'validation') => {
          const batches = createBatches(countingDataset(100), {
            ...chosen,
            split,
            shuffle: false,
            repeat: false,
          });
          return [...batches].flatMap(blocksOf);
        };
        expect([...draw('train'), ...draw('validation')]).toEqual(draw('all'));
      }),
    );
  });

  test('property: a restored position continues as if never interrupted', () => {
    const steps = fc.integer({ min: 0, max: 60 });
    fc.assert(
      fc.property(options, fc.boolean(), steps, (chosen, repeat, done) => {
        const all = { ...chosen, repeat };
        const uninterrupted = createBatches(countingDataset(100), all);
        take(uninterrupted, done);
        const saved: BatchesState = JSON.parse(JSON.stringify(uninterrupted.state()));
        const resumed = createBatches(countingDataset(100), all);
        take(resumed, 3);
        resumed.restore(saved);
        expect(take(resumed, 20)).toEqual(take(uninterrupted, 20));
        expect(resumed.state()).toEqual(uninterrupted.state());
      }),
    );
  });

  test('a single pass ends with a smaller batch', () => {
    const chosen = { sequenceLength: 9, batchSize: 4, repeat: false };
    const batches = createBatches(countingDataset(105), chosen);
    expect(batches.numBatches).toBe(3);
    const drawn = [...batches];
    expect(drawn.map(({ rows }) => rows)).toEqual([4, 4, 2]);
    expect(drawn[2].inputs).toHaveLength(18);
    expect(batches.next()).toEqual({ done: true, value: undefined });
    expect(() => batches.batchAt(3)).toThrow(RangeError);
  });

  test('seed and epoch each change the order', () => {
    const rows = (seed: number) => {
      const chosen = { sequenceLength: 1, batchSize: 50, seed };
      return take(createBatches(countingDataset(100), chosen), 2).map((batch) => blocksOf(batch).join());
    };
    expect(new Set([...rows(0), ...rows(1), ...rows(2)]).size).toBe(6);
    expect(rows(1)).toEqual(rows(1));
  });
});

describe('restore refuses', () => {
  const base = { sequenceLength: 4, batchSize: 2, seed: 1, split: 'train', validationFraction: 0.2 } as const;
  const state = (change: Partial<BatchOptions> = {}, fingerprint = 'a') =>
    createBatches(countingDataset(100, fingerprint), { ...base, ...change }).state();

  test.each<[string, BatchesState]>([
    ['fingerprint "b", this run has a', state({}, 'b')],
    ['seed 2, this run has 1', state({ seed: 2 })],
    ['sequenceLength 3, this run has 4', state({ sequenceLength: 3 })],
    ['shuffle false, this run has true', state({ shuffle: false })],
    ['split "all", this run has train', state({ split: 'all' })],
    ['validationFraction 0.5, this run has 0.2', state({ validationFraction: 0.5 })],
    ['nextRow -2', { ...state(), nextRow: -2 }],
    ['nextRow 3', { ...state(), nextRow: 3 }],
    ['version undefined', null as never],
  ])('%s', (reason, saved) => {
    const batches = createBatches(countingDataset(100), base);
    expect(() => batches.restore(saved)).toThrow(DatasetError);
    expect(() => batches.restore(saved)).toThrow(`cannot resume the data: the saved position has ${reason}`);
  });
});

test('restore continues with another batch size at a batch boundary', () => {
  const draw = (batchSize: number) => createBatches(countingDataset(100), { sequenceLength: 4, batchSize });
  const before = draw(6);
  take(before, 2);
  const after = draw(4);
  after.restore(before.state());
  const firstRow = ({ inputs, length }: Batch) => [...inputs.subarray(0, length)];
  expect(firstRow(after.next().value!)).toEqual(firstRow(before.next().value!));
  before.restore({ ...before.state(), nextRow: 18 });
  expect(() => after.restore(before.state())).toThrow('the saved position has nextRow 18');
});

describe('permutation', () => {
  test('property: holds every number once', () => {
    fc.assert(
      fc.property(fc.nat(300), fc.integer(), fc.nat(1000), (length, seed, epoch) => {
        const order = permutation(length, seed, epoch);
        expect([...order].sort((a, b) => a - b)).toEqual([...Array(length).keys()]);
      }),
    );
  });

  test('does not change: saved positions depend on it', () => {
    expect([...permutation(12, 1234, 0)]).toEqual([0, 4, 11, 6, 8, 7, 1, 9, 5, 2, 3, 10]);
    expect([...permutation(12, 1234, 1)]).toEqual([2, 3, 10, 6, 8, 1, 9, 4, 7, 5, 0, 11]);
  });

  test('is uniform: every block is equally frequent at every index, over seeds and epochs', () => {
    const [length, seeds, epochs] = [6, 20, 1000];
    let chiSquare = 0;
    for (let seed = 0; seed < seeds; seed++) {
      const counts = Array.from({ length }, () => new Array<number>(length).fill(0));
      for (let epoch = 0; epoch < epochs; epoch++) {
        permutation(length, seed, epoch).forEach((block, place) => {
          counts[place][block]++;
        });
      }
      const expected = epochs / length;
      for (const count of counts.flat()) chiSquare += (count - expected) ** 2 / expected;
    }
    // Rows and columns have fixed sums, hence the factor; 20 · 25 degrees of freedom, four standard deviations.
    const degrees = seeds * (length - 1) ** 2;
    const distance = Math.abs((chiSquare * (length - 1)) / length - degrees);
    expect(distance).toBeLessThan(4 * Math.sqrt(2 * degrees));
  });
});

describe('invalid options', () => {
  test.each<[string, number, Partial<BatchOptions>]>([
    ['corpus shorter than a block: got 8 tokens, a block needs 9', 8, {}],
    ['the train split is empty: got 1 block of', 9, { split: 'train', validationFraction: 0.5 }],
    ['the validation split is empty: got 11 blocks of', 99, { split: 'validation' }],
    ['sequenceLength: got 0', 99, { sequenceLength: 0 }],
    ['batchSize: got 1.5', 99, { batchSize: 1.5 }],
    ['seed: got NaN', 99, { seed: Number.NaN }],
    ['validationFraction: got 1', 99, { validationFraction: 1 }],
  ])('%s', (reason, numTokens, change) => {
    const create = () =>
      createBatches(countingDataset(numTokens), { sequenceLength: 8, batchSize: 2, ...change });
    expect(create).toThrow(DatasetError);
    expect(create).toThrow(reason);
  });
});

describe('batches of a prepared dataset', () => {
  test('span shards and count the bytes of their targets', async () => {
    const directory = await prepareDocuments(fixtureDocuments, { maxTokensPerShard: 333 });
    const dataset = openForTest(directory);
    const stream = dataset.readTokens(0, dataset.numTokens);
    const batches = createBatches(dataset, {
      sequenceLength: 99,
      batchSize: 3,
      shuffle: false,
      repeat: false,
    });
    let position = 0;
    for (const batch of batches) {
      let numBytes = 0;
      for (let row = 0; row < batch.rows; row++, position += 100) {
        expect(batch.inputs.subarray(row * 99, (row + 1) * 99)).toEqual(
          stream.subarray(position, position + 99),
        );
        expect(batch.targets.subarray(row * 99, (row + 1) * 99)).toEqual(
          stream.subarray(position + 1, position + 100),
        );
        numBytes += dataset.bytesOfTokens(position + 1, 99);
      }
      expect(batch.numBytes).toBe(numBytes);
    }
    expect(position).toBe(batches.rowsPerEpoch * 100);
  });
});
