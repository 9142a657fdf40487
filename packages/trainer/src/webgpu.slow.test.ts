/** Training on a GPU, and on XLA's CPU plugin: the same losses as on the processor, few reads of the device, nothing left behind. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setBackend } from '@meap/tensor-kernels';
import { compileQuickly } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { type TinyBatch, tinyLoss, tinyOptions, tinyParameters } from '../fixtures/tiny-run.mjs';
import * as trainer from './index.ts';
import type { StepMetrics } from './types.ts';

/** Why a backend cannot run here. */
async function whyMissing(backend: 'webgpu' | 'xla'): Promise<string | undefined> {
  const why = await setBackend(backend).then(
    () => undefined,
    (error: Error) => error.message,
  );
  if (why) console.warn(`not tested on ${backend}: ${why}`);
  return why;
}
compileQuickly();
const missing = await whyMissing('webgpu');
const missingXla = await whyMissing('xla');

const folder = mkdtempSync(join(tmpdir(), 'meap-webgpu-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What a run of the tiny model gave, how often it read the device, and what it left there. */
interface Seen {
  steps: StepMetrics[];
  reads: number;
  numTensors: number;
  bytes: number | undefined;
}

async function run(
  backend: 'webgpu' | 'xla' | 'native',
  steps: number,
  overrides: object = {},
): Promise<Seen> {
  await setBackend(backend);
  const device = tf.backend() as tf.KernelBackend & {
    getBufferData?: (buffer: unknown) => Promise<ArrayBuffer>;
  };
  const reads = device.getBufferData ? vi.spyOn(device, 'getBufferData') : undefined;
  const parameters = tinyParameters();
  const seen: StepMetrics[] = [];
  let readsOfSteps = 0;
  await trainer.train({
    ...tinyOptions(trainer, parameters, join(folder, `${backend}-${runs++}`), {
      steps,
      checkpoint: { every: 1000 },
      validation: undefined,
      samples: undefined,
      ...overrides,
    }),
    onEvent: (event) => {
      if (event.type !== 'step') return;
      seen.push(event);
      readsOfSteps = reads?.mock.calls.length ?? 0;
    },
  });
  tf.disposeVariables();
  reads?.mockRestore();
  const { numBytesInGPU: bytes } = device.memory() as { numBytesInGPU?: number };
  return { steps: seen, reads: readsOfSteps, numTensors: tf.memory().numTensors, bytes };
}
let runs = 0;

describe.skipIf(missing)('training on webgpu', () => {
  it('follows native for 8 steps, reads at most once a step and leaves nothing', async () => {
    const [first, webgpu, native] = [await run('webgpu', 5), await run('webgpu', 8), await run('native', 8)];
    expect(webgpu.steps.map(({ step }) => step)).toEqual(Array.from({ length: 8 }, (_, i) => i + 1));
    for (const [i, { loss, gradNorm, lr, tokens }] of native.steps.entries()) {
      const there = webgpu.steps[i];
      expect(there).toMatchObject({ lr, tokens });
      expect(there.loss! / loss!).toBeCloseTo(1, 4);
      expect(there.gradNorm! / gradNorm!).toBeCloseTo(1, 3);
    }
    expect(webgpu.reads).toBeLessThanOrEqual(8);
    expect([webgpu.numTensors, webgpu.bytes]).toEqual([first.numTensors, first.bytes]);
  });

  it('reads short steps 16 at once', async () => {
    // A clock that stands still: steps that take no time.
    const clock = vi.spyOn(performance, 'now').mockReturnValue(0);
    const { reads } = await run('webgpu', 20).finally(() => clock.mockRestore());
    expect(reads).toBe(1 + 1 + Math.ceil(18 / 16));
  });

  it('reads metrics before each update if a step may be skipped', async () => {
    const { steps, reads } = await run('webgpu', 10, { guard: { maxNonFiniteSteps: 1 } });
    expect([steps.length, reads]).toEqual([10, 10]);
  });

  it.each([
    ['the loss is not a number', Number.NaN],
    ['only the gradient overflows', 1e30],
  ])('names the step at which %s, with its weights as they were before', async (_, factor) => {
    await setBackend('webgpu');
    const weightsAfter = async (steps: number, faultyStep?: number) => {
      const parameters = tinyParameters();
      const loss = tinyLoss(parameters);
      const done = trainer.train({
        ...tinyOptions(trainer, parameters, join(folder, `fault-${runs++}`), {
          steps,
          checkpoint: { every: 1000 },
          validation: undefined,
          samples: undefined,
          loss: (batch: TinyBatch, { step }: trainer.Position) => {
            const { sum, ...counts } = loss(batch);
            return { ...counts, sum: step + 1 === faultyStep ? tf.mul(sum, factor) : sum };
          },
        }),
      });
      if (faultyStep) await expect(done).rejects.toThrow(`step ${faultyStep} has loss`);
      else await done;
      const weights = await Promise.all([...parameters.values()].map((variable) => variable.data()));
      tf.disposeVariables();
      return weights;
    };
    // Steps are read late: those after the faulty one have been computed, and must not have changed anything either.
    const clock = vi.spyOn(performance, 'now').mockReturnValue(0);
    try {
      expect(await weightsAfter(12, 5)).toEqual(await weightsAfter(4));
    } finally {
      clock.mockRestore();
    }
  });
});

describe.skipIf(missingXla)('training on xla', () => {
  it('follows native, compiles nothing after its first step, and resumes exactly', async () => {
    await setBackend('xla');
    const { programs } = tf.backend() as unknown as { programs: Map<string, unknown> };
    const train = async (steps: number, directory: string) => {
      const parameters = tinyParameters();
      const seen: { loss?: number | null; programs: number }[] = [];
      const options = { steps, checkpoint: { every: 2 }, validation: undefined, samples: undefined };
      await trainer.train({
        ...tinyOptions(trainer, parameters, join(folder, directory), options),
        resume: 'auto',
        onEvent: (event) => {
          if (event.type === 'step') seen.push({ loss: event.loss, programs: programs.size });
        },
      });
      const weights = await Promise.all([...parameters.values()].map((variable) => variable.data()));
      tf.disposeVariables();
      return { seen, weights };
    };
    const whole = await train(6, 'xla-whole');
    await train(2, 'xla-parts');
    const resumed = await train(6, 'xla-parts');
    expect(resumed.seen).toHaveLength(4);
    expect(resumed.weights).toEqual(whole.weights);
    // The same two programs for micro-batches in the first step and in all others, in every run.
    expect(new Set([...whole.seen, ...resumed.seen].map(({ programs }) => programs)).size).toBe(1);
    const native = await run('native', 6);
    for (const [i, { loss }] of native.steps.entries()) {
      expect(whole.seen[i].loss! / loss!).toBeCloseTo(1, 5);
    }
  });
});
