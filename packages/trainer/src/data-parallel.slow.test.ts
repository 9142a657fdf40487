/** Ranks inside this process: what they compute together against what one process computes, and what they send. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { inMemoryRanks } from '../fixtures/in-memory-ranks.mjs';
import { type TinyBatch, tinyLoss, tinyOptions, tinyParameters } from '../fixtures/tiny-run.mjs';
import { dataParallelStep } from './data-parallel.ts';
import { TrainerError } from './errors.ts';
import * as trainer from './index.ts';
import { RankGroup } from './rank-group.ts';
import { disposeStep, singleProcessStep } from './training-step.ts';
import type { Loss, Parameters, Position, TrainEvent } from './types.ts';

const root = mkdtempSync(join(tmpdir(), 'meap-ranks-'));
let directory: string;
let count = 0;
beforeEach(() => {
  directory = join(root, String(count++));
});
afterAll(() => rmSync(root, { recursive: true }));

type Overrides = Record<string, unknown>;

const weightsOf = (parameters: Parameters) =>
  Object.fromEntries(
    [...parameters].map(([name, variable]) => [name, Float32Array.from(variable.dataSync())]),
  );

const STEPS = 12;
const base: Overrides = { microBatches: 12, steps: STEPS, checkpoint: { every: 1000 } };

/** One run by `size` ranks, or by one process where `size` is 1. */
async function run(size: number, overrides: Overrides = {}) {
  const { ranks: collectives, traffic } = inMemoryRanks(size);
  const events: TrainEvent[][] = [];
  const results = await Promise.all(
    collectives.map(async (own, rank) => {
      const parameters = tinyParameters() as Parameters;
      events[rank] = [];
      const { loss } = overrides as { loss?: (parameters: Parameters) => Loss<TinyBatch> };
      const options = tinyOptions(trainer, parameters, directory, {
        ...base,
        ...overrides,
        loss: (loss ?? tinyLoss)(parameters),
        ...(size > 1 && { ranks: new RankGroup(own) }),
        onEvent: (event: TrainEvent) => events[rank].push(event),
      });
      const result = await trainer.train(options);
      const weights = weightsOf(parameters);
      tf.dispose([...parameters.values()]);
      return { result, weights };
    }),
  );
  const metrics = readFileSync(join(directory, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => ({ ...JSON.parse(line), tokensPerSecond: 0, residentBytes: 0, backendBytes: 0 }));
  return { results, metrics, events, traffic };
}

function closeTo(got: Record<string, Float32Array>, want: Record<string, Float32Array>, tolerance: number) {
  for (const [name, values] of Object.entries(want)) {
    values.forEach((value, i) => {
      expect(Math.abs(got[name][i] - value), `${name}[${i}]`).toBeLessThan(tolerance);
    });
  }
}

describe('ranks on native', () => {
  beforeAll(() => setBackend('native'));

  it.each([
    [2, 0],
    [3, 0],
    [2, 1],
    [3, 1],
    [4, 1],
    [2, 2],
    [4, 2],
    [6, 2],
  ] as const)('%i with ZeRO %i learn what one process learns', async (size, zeroStage) => {
    const alone = await run(1);
    directory += '-shared';
    const before = tf.memory().numTensors;
    const shared = await run(size, { zeroStage });
    expect(tf.memory().numTensors).toBe(before);
    for (const { weights, result } of shared.results) {
      // Float32 sums in another order: a few units in the last place, through twelve steps of AdamW.
      closeTo(weights, alone.results[0].weights, 1e-5);
      expect(weights).toEqual(shared.results[0].weights);
      expect(result).toEqual(shared.results[0].result);
    }
    expect(shared.metrics).toHaveLength(alone.metrics.length);
    for (const [i, line] of shared.metrics.entries()) {
      for (const [key, value] of Object.entries(alone.metrics[i])) {
        if (typeof value !== 'number') expect(line[key]).toEqual(value);
        else expect(Math.abs((line[key] as number) - value), key).toBeLessThan(1e-5);
      }
      expect([line.step, line.tokens]).toEqual([alone.metrics[i].step, alone.metrics[i].tokens]);
    }
    // Only rank 0 tells of anything.
    expect(shared.events.slice(1).flat()).toEqual([]);
    expect(shared.events[0].map(({ type }) => type)).toEqual(alone.events[0].map(({ type }) => type));
  });

  it('two of them with Muon and a z-loss learn what one process learns, but not with ZeRO', async () => {
    const options = () => ({
      optimizer: trainer.muonOptimizer({ matrices: /hidden\.weight/ }),
      loss: (parameters: Parameters) => (batch: TinyBatch) => {
        const { sum, ...counts } = tinyLoss(parameters)(batch);
        const zLoss = tf.mul(sum, 0.1);
        return { sum: tf.add(sum, zLoss), zLoss, ...counts };
      },
    });
    const alone = await run(1, options());
    directory += '-shared';
    const shared = await run(2, options());
    for (const { weights } of shared.results) closeTo(weights, alone.results[0].weights, 1e-5);
    expect(alone.metrics[0].zLoss / alone.metrics[0].loss).toBeCloseTo(0.1, 6);
    for (const [i, { valLoss, loss, zLoss }] of shared.metrics.entries()) {
      if (valLoss !== undefined) continue;
      expect(loss).toBeCloseTo(alone.metrics[i].loss, 5);
      expect(zLoss).toBeCloseTo(alone.metrics[i].zLoss, 5);
    }
    directory += '-zero';
    await expect(run(2, { ...options(), zeroStage: 1 })).rejects.toThrow(
      'train: zeroStage 1 with an optimizer that needs whole parameters, as Muon does, expected 0: ',
    );
  });

  it.each([0, 1, 2] as const)('with ZeRO %i give the same bits in every run', async (zeroStage) => {
    const first = await run(3, { zeroStage });
    directory += '-again';
    const second = await run(3, { zeroStage });
    expect(second.results[0].weights).toEqual(first.results[0].weights);
    expect(second.metrics).toEqual(first.metrics);
  });

  it('resume as another number of ranks, with another stage, exactly where they were', async () => {
    const whole = await run(1);
    directory += '-parts';
    const parts: [size: number, zeroStage: 0 | 1 | 2, steps: number][] = [
      [1, 0, 2],
      [4, 2, 5],
      [2, 1, 7],
      [3, 0, 9],
      [1, 0, 10],
      [6, 1, STEPS],
    ];
    for (const [i, [size, zeroStage, steps]] of parts.entries()) {
      const { events, results, metrics } = await run(size, { zeroStage, steps });
      expect(results.map(({ result }) => result.step)).toEqual(new Array(size).fill(steps));
      const resumed = events[0].find(({ type }) => type === 'resume');
      expect(resumed).toEqual(i === 0 ? undefined : expect.objectContaining({ step: parts[i - 1][2] }));
      if (steps === STEPS) {
        closeTo(results[0].weights, whole.results[0].weights, 1e-5);
        expect(metrics.at(-1)?.tokens).toBe(whole.metrics.at(-1)?.tokens);
      }
    }
  });

  it('write a checkpoint that resumes to the byte for the same number of ranks', async () => {
    const whole = await run(4, { zeroStage: 2 });
    directory += '-parts';
    await run(4, { zeroStage: 2, steps: 5 });
    const resumed = await run(4, { zeroStage: 2 });
    expect(resumed.results[0].weights).toEqual(whole.results[0].weights);
    expect(resumed.metrics.filter((line) => 'loss' in line)).toEqual(
      whole.metrics.filter((line) => 'loss' in line),
    );
  });

  it.each([
    [2, 0, 7],
    [3, 1, 7],
    [2, 1, 42],
    [4, 1, 70],
    [3, 2, 7],
    [4, 2, 42],
  ] as const)(
    '%i with ZeRO %i and buckets of %i elements ask in one order and learn the same',
    async (size, zeroStage, bucketSize) => {
      const learn = async (ranks?: RankGroup) => {
        const parameters = tinyParameters() as Parameters;
        const options = { ...tinyOptions(trainer, parameters, directory), microBatches: 12 };
        const step = ranks
          ? dataParallelStep({ ...options, ranks, zeroStage, bucketSize })
          : singleProcessStep(options);
        for (let i = 0; i < 4; i++) {
          const sums = (await step.accumulate(i))!;
          await step.update(sums, 0.05, 1 / sums.count);
          tf.dispose([...sums.gradients.values()]);
        }
        const moments: Record<string, Float32Array> = {};
        for (const [index, { name }] of step.tensors.entries()) {
          const bytes = await step.readTensor(index);
          moments[name] = new Float32Array(bytes.slice().buffer);
        }
        const weights = weightsOf(parameters);
        disposeStep(step);
        tf.dispose([...parameters.values()]);
        return { weights, moments };
      };
      const alone = await learn();
      const shared = await Promise.all(inMemoryRanks(size).ranks.map((own) => learn(new RankGroup(own))));
      for (const { weights } of shared) closeTo(weights, alone.weights, 1e-6);
      expect(Object.keys(shared[0].moments)).toEqual(Object.keys(alone.moments));
      closeTo(shared[0].moments, alone.moments, 1e-4);
    },
  );
});

describe('ranks on cpu', () => {
  beforeAll(() => setBackend('cpu'));

  it('refuse micro-batches that they cannot share', async () => {
    await expect(run(2, { microBatches: 3 })).rejects.toThrow(
      new TrainerError(
        'train: 3 micro-batches per step cannot be shared by 2 ranks, expected a multiple of 2: use smaller ' +
          'micro-batches, or a number of ranks that divides 3',
      ),
    );
  });

  it('refuse to train on different data', async () => {
    const { ranks } = inMemoryRanks(2);
    const outcomes = await Promise.allSettled(
      ranks.map((own) => {
        const parameters = tinyParameters() as Parameters;
        const fingerprints = { data: `d${own.rank}`, seed: 1 };
        const overrides = { ...base, fingerprints, ranks: new RankGroup(own) };
        return trainer.train(tinyOptions(trainer, parameters, directory, overrides));
      }),
    );
    for (const outcome of outcomes) {
      expect((outcome as PromiseRejectedResult).reason).toEqual(
        new TrainerError(
          'train: ranks differ in data, rank 0 has d0 and rank 1 has d1: give all ranks the same recipe, model and data',
        ),
      );
    }
  });

  it('all stop at one step when any is aborted, with one checkpoint', async () => {
    const controller = new AbortController();
    const size = 3;
    const { ranks } = inMemoryRanks(size);
    const results = await Promise.all(
      ranks.map((own, rank) => {
        const parameters = tinyParameters() as Parameters;
        const source = tinyOptions(trainer, parameters, directory, base);
        return trainer.train({
          ...source,
          ranks: new RankGroup(own),
          // The signal is that of rank 2 alone.
          signal: rank === 2 ? controller.signal : new AbortController().signal,
          loss: (batch: TinyBatch, position: Position) => {
            if (rank === 2 && position.step === 4 && position.microBatch === 5) controller.abort();
            return source.loss(batch, position);
          },
        } as never);
      }),
    );
    expect(results.map(({ status, step }) => [status, step])).toEqual(new Array(size).fill(['stopped', 4]));
    expect(new Set(results.map(({ checkpoint }) => checkpoint)).size).toBe(1);
  });

  it('judge alike: a loss that is not finite on one rank stops all before the update', async () => {
    const { ranks } = inMemoryRanks(2);
    const outcomes = await Promise.allSettled(
      ranks.map((own) => {
        const parameters = tinyParameters() as Parameters;
        const options = tinyOptions(trainer, parameters, directory, base);
        return trainer.train({
          ...options,
          ranks: new RankGroup(own),
          loss: (batch: TinyBatch, position: Position) => {
            const { step, microBatch } = position;
            const { sum, ...counts } = options.loss(batch, position);
            return { ...counts, sum: step === 2 && microBatch === 1 ? tf.mul(sum, Number.NaN) : sum };
          },
        } as never);
      }),
    );
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { name: 'NonFiniteError' } });
      expect((outcome as PromiseRejectedResult).reason.message).toMatch(/^train: step 3 has loss NaN/);
    }
  });

  it.each([
    [0, 2],
    [0, 4],
    [1, 2],
    [1, 4],
    [2, 2],
    [2, 4],
  ] as const)(
    'with ZeRO %i, %i ranks send 2(N−1)/N of the gradients’ bytes a step',
    async (zeroStage, size) => {
      // One micro-batch a rank: with more, stage 2 pays for its memory by sending each.
      const few = { microBatches: size, zeroStage, validation: undefined, samples: undefined };
      const bytesOf = async (steps: number) => {
        directory += '-x';
        return (await run(size, { ...few, steps, checkpoint: { every: 1000 } })).traffic;
      };
      const [short, long] = [await bytesOf(2), await bytesOf(7)];
      const perStep = (kind: 'allReduce' | 'reduceScatter' | 'allGather') => (long[kind] - short[kind]) / 5;
      const parameters = 4 * (11 * 6 + 6 * 6 + 6 + 6 * 11);
      // One bucket, padded to whole parts.
      const psi = Math.ceil(parameters / 4 / size) * size * 4;
      const theory = ((size - 1) / size) * psi;
      // The vote to go on, and loss, norm, counts and a flag a parameter, float64.
      const scalars = (2 * (size - 1) * 8 * (1 + 4 + 4)) / size;
      if (zeroStage === 0) {
        expect(perStep('allReduce')).toBeCloseTo(2 * theory + scalars, 6);
        expect(perStep('reduceScatter') + perStep('allGather')).toBe(0);
      } else {
        expect(perStep('allReduce')).toBeCloseTo(scalars, 6);
        expect(perStep('reduceScatter')).toBeCloseTo(theory, 6);
        expect(perStep('allGather')).toBeCloseTo(theory, 6);
      }
    },
  );

  it.each([2, 3, 4])('hold one %i-th of the moments with ZeRO', async (size) => {
    const held = async (zeroStage: 0 | 1) => {
      directory += '-x';
      const { ranks } = inMemoryRanks(size);
      const bytes = await Promise.all(
        ranks.map(async (own) => {
          const parameters = tinyParameters() as Parameters;
          const options = tinyOptions(trainer, parameters, directory, base);
          const step = dataParallelStep({
            ...options,
            microBatches: size,
            ranks: new RankGroup(own),
            zeroStage,
          } as never);
          return [...step.state.tensors.values()].reduce((sum, { size }) => sum + 4 * size, 0);
        }),
      );
      return bytes;
    };
    const [whole] = await held(0);
    const parts = await held(1);
    expect(parts.reduce((sum, bytes) => sum + bytes)).toBe(whole);
    // Rajbhandari et al., figure 1: K Ψ / N, but for what does not divide.
    for (const bytes of parts) expect(Math.abs(bytes - whole / size)).toBeLessThan(8 * size);
  });
});
