/** Training on a GPU: the same losses as on the processor, one read of the device a step, nothing left behind. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { afterAll, describe, expect, it } from 'vitest';
import { tinyOptions, tinyParameters } from '../fixtures/tiny-run.mjs';
import * as trainer from './index.ts';
import type { StepMetrics } from './types.ts';

const missing = await setBackend('webgpu').then(
  () => undefined,
  (error: Error) => error.message,
);
if (missing) console.warn(`not tested on webgpu: ${missing}`);

const folder = mkdtempSync(join(tmpdir(), 'meap-webgpu-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What a step leaves for the next to find, and how often the device was read since the step before. */
interface Seen {
  loss: number | null;
  gradNorm: number | null;
  reads: number;
  numTensors: number;
  bytes: number | undefined;
}

async function run(backend: 'webgpu' | 'native', steps: number): Promise<Seen[]> {
  await setBackend(backend);
  const device = tf.backend() as tf.KernelBackend & {
    getBufferData?: (buffer: unknown) => Promise<ArrayBuffer>;
  };
  const { getBufferData } = device;
  let reads = 0;
  if (getBufferData) {
    device.getBufferData = (buffer) => {
      reads += 1;
      return getBufferData.call(device, buffer);
    };
  }
  const parameters = tinyParameters();
  const seen: Seen[] = [];
  const look = ({ loss, gradNorm }: StepMetrics) => {
    const { numTensors } = tf.memory();
    seen.push({
      loss,
      gradNorm,
      reads,
      numTensors,
      bytes: (device.memory() as { numBytesInGPU?: number }).numBytesInGPU,
    });
    reads = 0;
  };
  await trainer.train({
    ...tinyOptions(trainer, parameters, join(folder, backend), {
      steps,
      checkpoint: { every: 1000 },
      validation: undefined,
      samples: undefined,
    }),
    onEvent: (event) => {
      if (event.type === 'step') look(event);
    },
  });
  tf.disposeVariables();
  return seen;
}

describe.skipIf(missing)('training on webgpu', () => {
  it('follows native for 30 steps, reads once a step and leaves nothing in 100', async () => {
    const [webgpu, native] = [await run('webgpu', 100), await run('native', 30)];
    for (const [i, { loss, gradNorm }] of native.entries()) {
      expect(webgpu[i].loss! / loss!).toBeCloseTo(1, 4);
      expect(webgpu[i].gradNorm! / gradNorm!).toBeCloseTo(1, 3);
    }
    expect(webgpu.slice(1).map(({ reads }) => reads)).toEqual(Array(99).fill(1));
    const [early, late] = [webgpu[9], webgpu[99]];
    expect(late.numTensors).toBe(early.numTensors);
    expect(late.bytes).toBe(early.bytes);
  });
});
