/** A GPU that is lost and one whose memory runs out, both for real, in a process of their own: what is left of the run. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describeBackend, setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { afterAll, describe, expect, it } from 'vitest';
import { tinyOptions, tinyParameters } from '../fixtures/tiny-run.mjs';
import * as trainer from './index.ts';

const missing = await setBackend('webgpu').then(
  () => undefined,
  (error: Error) => error.message,
);
if (missing) console.warn(`not tested on webgpu: ${missing}`);
// Other drivers crash where the process may have no more memory, or take it from a GPU that has a lot.
const isSwiftShader = !missing && /swiftshader/i.test(describeBackend().device);

const folder = mkdtempSync(join(tmpdir(), 'meap-faults-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const script = fileURLToPath(new URL('../fixtures/faulty-gpu.mjs', import.meta.url));

/** Runs until the fault; returns what the program says last and which checkpoints are there. */
async function runInto(fault: 'lost' | 'memory', limit: string): Promise<[string, string[]]> {
  const directory = join(folder, fault);
  const command = `${limit} exec "$0" "$1" "$2" "$3"`;
  const run = promisify(execFile)('sh', ['-c', command, process.execPath, script, directory, fault], {
    timeout: 200_000,
  });
  const { stdout } = await run;
  return [stdout.trim().split('\n').at(-1)!, readdirSync(join(directory, 'checkpoints')).sort()];
}

/** Goes on from the last checkpoint, on the processor. */
async function goOn(fault: string): Promise<number[]> {
  await setBackend('native');
  const steps: number[] = [];
  const overrides = { validation: undefined, samples: undefined, checkpoint: { every: 100 } };
  await trainer.train({
    ...tinyOptions(trainer, tinyParameters(), join(folder, fault), overrides),
    onEvent: (event: trainer.TrainEvent) => {
      if (event.type === 'step') steps.push(event.step);
    },
  });
  tf.disposeVariables();
  return steps;
}

describe.skipIf(missing)('a fault of the GPU', () => {
  it('ends the run with a remedy when the device is lost; the last checkpoint is complete', async () => {
    const [said, checkpoints] = await runInto('lost', '');
    expect(said).toMatch(/^BackendError: webgpu: the device was lost: .*last checkpoint/);
    expect(checkpoints).toEqual(['step-00000002', 'step-00000004']);
    expect(await goOn('lost')).toEqual([5, 6, 7, 8, 9, 10, 11, 12]);
  });

  it.skipIf(!isSwiftShader || process.platform !== 'linux')(
    'ends it with the buffer that did not fit when memory runs out; the last checkpoint is whole',
    async () => {
      const [said, checkpoints] = await runInto('memory', 'ulimit -v 4000000;');
      expect(said).toMatch(
        /^BackendError: webgpu: out of memory for a buffer of 400 MiB beside \d+ MiB in use; use smaller/,
      );
      expect(checkpoints).toEqual(['step-00000002', 'step-00000004']);
      expect(await goOn('memory')).toEqual([5, 6, 7, 8, 9, 10, 11, 12]);
    },
  );
});
