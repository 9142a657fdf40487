/** The backend around the kernels: what it says, refuses, reads and keeps. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expectClose } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import {
  adamW,
  BackendError,
  cachedAttention,
  describeBackend,
  rmsNorm,
  scoreTokens,
  setBackend,
  sumsOfSquares,
} from '../index.ts';
import { random, tensorOf, whyMissing } from '../testing.ts';
import { webgpuBackend } from './backend.ts';
import { crossEntropy } from './loss.ts';

vi.setConfig({ testTimeout: 300_000 });

const missing = await whyMissing('webgpu');
const root = fileURLToPath(new URL('../..', import.meta.url));

/** Runs a program on the built package and returns what it prints; it must end by itself. */
async function inNewProcess(program: string, env: Record<string, string> = {}): Promise<string> {
  const start = `import * as tf from '@tensorflow/tfjs';
    import { setBackend } from '${root}dist/index.js';`;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '-e', start + program],
    { env: { ...process.env, ...env }, timeout: 200_000, cwd: root },
  );
  return stdout;
}

describe.skipIf(missing)('the webgpu backend', () => {
  beforeAll(async () => {
    await setBackend('webgpu');
  });
  const backend = () => webgpuBackend()!;

  it('describes the adapter and whether it is a GPU', () => {
    const { name, device } = describeBackend();
    expect(name).toBe('webgpu');
    expect(device.endsWith('(a software rasterizer, not a GPU)')).toBe(backend().gpu.isSoftware);
  });

  it('requests the limits of the adapter, not the defaults', async () => {
    const adapter = await (
      globalThis as unknown as { navigator: { gpu: GPU } }
    ).navigator.gpu.requestAdapter();
    const { limits } = backend().device;
    expect(limits.maxStorageBufferBindingSize).toBe(adapter!.limits.maxStorageBufferBindingSize);
    expect(limits.maxComputeWorkgroupStorageSize).toBe(adapter!.limits.maxComputeWorkgroupStorageSize);
  });

  it('refuses a tensor that it cannot bind, with both sizes, before anything is allocated', () => {
    const elements = backend().device.limits.maxStorageBufferBindingSize / 4 + 1;
    const before = backend().memory();
    expect(() => tf.fill([elements], 1)).toThrow(
      /a tensor of \d+ MiB exceeds the largest binding of this device, \d+ MiB/,
    );
    expect(backend().memory()).toEqual(before);
  });

  it('cannot be read synchronously, except for values from the host', () => {
    const ids = tf.tensor1d([3, 1], 'int32');
    const row = tf.add(ids, tf.zeros([2000, 2], 'int32'));
    expect([...ids.dataSync()]).toEqual([3, 1]);
    expect(() => row.dataSync()).toThrow(BackendError);
    tf.dispose([ids, row]);
  });

  it('reads what a kernel wrote in place, not a cached value', async () => {
    const [parameter, firstMoment, secondMoment] = [2, 0, 0].map((x) => tf.variable(tf.tensor1d([x])));
    const gradient = tf.tensor1d([3]);
    const rates = { learningRate: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 0, weightDecay: 0.5 };
    expect((await parameter.data())[0]).toBe(2);
    adamW({ parameter, gradient, firstMoment, secondMoment, ...rates, step: 1, gradientScale: 1 });
    expect((await parameter.data())[0]).toBeCloseTo(1.8, 5);
    adamW({ parameter, gradient, firstMoment, secondMoment, ...rates, step: 2, gradientScale: 1 });
    expect((await parameter.data())[0]).not.toBeCloseTo(1.8, 2);
    expect((await firstMoment.data())[0]).toBeCloseTo(0.57, 5);
    tf.dispose([parameter, firstMoment, secondMoment, gradient]);
  });

  it('leaks no tensor and no buffer in 100 steps', async () => {
    const weight = tf.variable(tf.ones([8]));
    const step = async () => {
      const { value, grads } = tf.variableGrads(
        () => tf.sum(tf.square(rmsNorm(tf.ones([4, 8]), weight as tf.Tensor1D, 1e-5))) as tf.Scalar,
        [weight],
      );
      const squares = sumsOfSquares(Object.values(grads));
      await squares.data();
      tf.dispose([value, squares, ...Object.values(grads)]);
    };
    for (let i = 0; i < 3; i++) await step();
    const before = { ...tf.memory(), ...backend().memory() };
    for (let i = 0; i < 100; i++) await step();
    expect({ ...tf.memory(), ...backend().memory() }).toEqual(before);
    weight.dispose();
  });

  it('has the same loss and gradient for any number of chunks', async () => {
    const [x, weight] = [random([300, 5], 1), random([40, 5], 2)].map(tensorOf);
    const targets = tf.tensor1d(
      Int32Array.from({ length: 300 }, (_, i) => (i * 7) % 40),
      'int32',
    );
    const run = async (chunkNumbers?: number) => {
      const call = { x, weight, targets, gradients: 'both', greedy: true, chunkNumbers } as const;
      const made = crossEntropy(backend(), call);
      const values = await Promise.all(made.map(({ dataId }) => backend().read(dataId)));
      for (const { dataId } of made) backend().disposeData(dataId);
      return values as Float32Array[];
    };
    const [whole, chunked] = [await run(), await run(1)];
    for (const [i, values] of whole.entries()) expectClose(chunked[i], values, { relative: 2e-6 });
    tf.dispose([x, weight, targets]);
  });

  it('reduces the same with subgroups and without', async () => {
    const { gpu, pipelines } = backend();
    const { largestSubgroup } = gpu;
    const [x, weight] = [random([70, 200], 1), random([300, 200], 2)].map(tensorOf) as tf.Tensor2D[];
    const [query, key] = [random([1, 2, 4, 72], 3), random([1, 2, 2, 72], 4)].map(tensorOf) as tf.Tensor4D[];
    const old = tensorOf(random([90, 2, 72], 5)) as tf.Tensor3D;
    const targets = tf.tensor1d(
      Int32Array.from({ length: 70 }, (_, i) => (i * 7) % 300),
      'int32',
    );
    const run = async () => {
      const results = tf.tidy(() => {
        const cache = { keys: tf.variable(old), values: tf.variable(old), length: 88 };
        const decoded = cachedAttention(query, key, key, [cache]);
        const { logProbabilities, greedyIds } = scoreTokens(x, weight, targets);
        const gradient = tf.grad((x) => tf.sum(tf.square(rmsNorm(x, weight.slice([0], [1]).as1D(), 1e-5))));
        return [gradient(x), logProbabilities, greedyIds, sumsOfSquares([x, weight]), decoded];
      });
      const values = await Promise.all(results.map((tensor) => tensor.data()));
      tf.dispose(results);
      return values;
    };
    const asOffered = await run();
    gpu.largestSubgroup = 0;
    const plain = await run().finally(() => {
      gpu.largestSubgroup = largestSubgroup;
    });
    for (const [i, values] of plain.entries()) expectClose(asOffered[i], values, { relative: 2e-6 });
    expect(asOffered[2]).toEqual(plain[2]);
    const kernels = [
      'RmsNorm',
      'RmsNormGrad',
      'CrossEntropy',
      'SumOfSquares',
      'SumOfParts',
      'AttentionFewQueries',
    ];
    const without = kernels.filter(
      (name) => ![...pipelines.keys()].some((key) => new RegExp(`^${name}_.*subgroups`).test(key)),
    );
    expect(without).toEqual(largestSubgroup > 0 && largestSubgroup <= 64 ? [] : kernels);
    tf.dispose([x, weight, query, key, old, targets]);
    tf.disposeVariables();
  });

  it('frees buffers when shapes change', async () => {
    const megabytes = 24;
    for (let i = 0; i < 30; i++) {
      const x = tf.fill([(megabytes << 18) + 1024 * i], 1);
      const first = x.slice([0], [1]);
      x.dispose();
      await first.data();
      first.dispose();
    }
    expect(backend().memory().numBytesAllocatedInGPU).toBeLessThan((megabytes * 20) << 20);
  });

  it('names every kernel and its time in a profile', async () => {
    const x = tf.ones([40, 40]);
    const profile = (await backend().time(() => tf.dispose(tf.matMul(x, x)))) as tf.BackendTimingInfo;
    expect(profile.getExtraProfileInfo?.()).toMatch(/^MatMul_64x64_\d+: [\d.e-]+$/);
    x.dispose();
  });

  it('lets the process end, and auto does not select a software rasterizer', async () => {
    const output = await inNewProcess(`
      console.log((await setBackend('webgpu')).name, (await tf.ones([2]).mul(3).data()).join());
      console.log((await setBackend('auto')).name);`);
    const [explicit, auto] = output.trim().split('\n').slice(-2);
    expect(explicit).toBe('webgpu 3,3');
    if (backend().gpu.isSoftware) expect(auto).toBe('native');
  });

  it('lists the adapters if there is none of the given name', async () => {
    const output = await inNewProcess(
      `
      await setBackend('webgpu').catch((error) => console.log(error.name, error.message));`,
      { MEAP_GPU_ADAPTER: 'no such GPU' },
    );
    expect(output).toMatch(/BackendError webgpu: MEAP_GPU_ADAPTER: .*no such GPU.*Available adapters/s);
  });

  it('reports a lost device with what to do', async () => {
    const output = await inNewProcess(`
      await setBackend('webgpu');
      const x = tf.ones([2]).mul(3);
      tf.backend().device.destroy();
      await x.data().catch((error) => console.log(error.name, error.message));`);
    expect(output).toMatch(/BackendError webgpu: the device was lost.*last checkpoint/);
  });

  it('reports exhausted memory with the buffer, at the next read and in every later op', async () => {
    const output = await inNewProcess(`
      await setBackend('webgpu');
      const x = tf.ones([40, 40]);
      const y = x.matMul(x);
      tf.backend().watch(Promise.resolve(new GPUOutOfMemoryError('')), 'a buffer of 3 MiB');
      await y.data().catch((error) => console.log(error.name, error.message));
      try { x.matMul(x); } catch (error) { console.log(error.name); }`);
    expect(output).toMatch(
      /BackendError webgpu: out of memory for a buffer of 3 MiB .*smaller batches.*\nBackendError/,
    );
  });
});
