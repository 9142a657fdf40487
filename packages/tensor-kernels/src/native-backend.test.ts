import * as tf from '@tensorflow/tfjs';
import * as fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { type BufferMemory, BufferPool } from './buffer-pool.ts';
import {
  BackendError,
  describeBackend,
  linearCrossEntropy,
  measurePeak,
  setBackend,
  setPrecision,
} from './index.ts';
import { loadNativeAddon } from './native-addon.ts';
import { nativeBackend } from './native-interface.ts';

const discarded: ArrayBuffer[] = [];
const memory: BufferMemory = {
  allocate: (bytes) => new ArrayBuffer(bytes),
  discard: (buffer) => discarded.push(buffer),
};

describe('BufferPool', () => {
  it('never returns a buffer in use, for any order of taking and releasing', () => {
    const action = fc.record({ take: fc.boolean(), bytes: fc.integer({ min: 0, max: 1e6 }), at: fc.nat() });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
        const pool = new BufferPool(memory);
        const used: ArrayBuffer[] = [];
        for (const { take, bytes, at } of actions) {
          if (take || used.length === 0) {
            const buffer = pool.take(bytes);
            expect(used).not.toContain(buffer);
            expect(buffer.byteLength).toBeGreaterThanOrEqual(bytes);
            expect(buffer.byteLength).toBeLessThanOrEqual(Math.max(bytes * 1.13, bytes + 64));
            pool.retain(buffer);
            used.push(buffer);
          } else {
            pool.release(used.splice(at % used.length, 1)[0]);
          }
        }
        expect(pool.memory().liveBytes).toBe(used.reduce((sum, { byteLength }) => sum + byteLength, 0));
      }),
    );
  });

  it('holds at most the largest memory in use, for any sequence of shapes', () => {
    const pool = new BufferPool(memory);
    const megabyte = 1 << 20;
    for (let round = 0; round < 40; round++) {
      const buffers = Array.from({ length: 10 }, () => pool.take((10 + round) * megabyte));
      for (const buffer of buffers) pool.retain(buffer);
      for (const buffer of buffers) pool.release(buffer);
    }
    const { liveBytes, freeBytes, peakBytes } = pool.memory();
    expect(liveBytes).toBe(0);
    expect(freeBytes).toBeLessThanOrEqual(1.125 * 10 * 56 * megabyte);
    expect(peakBytes).toBeLessThanOrEqual(2 * 10 * 56 * megabyte);
    expect(discarded.length).toBeGreaterThan(0);
    // The latest shape is what is kept.
    const before = pool.memory().freeBytes;
    pool.take(49 * megabyte);
    expect(pool.memory().freeBytes).toBeLessThan(before);
  });

  it('keeps buffers that were needed again after it discarded them, so that a repeated step allocates nothing', () => {
    let allocations = 0;
    const counting: BufferMemory = {
      allocate: (bytes) => {
        allocations++;
        return memory.allocate(bytes);
      },
      discard: (buffer) => memory.discard(buffer),
    };
    const pool = new BufferPool(counting);
    const pass = (count: number, bytes: number) => {
      const buffers = Array.from({ length: count }, () => pool.take(bytes));
      for (const buffer of buffers) pool.retain(buffer);
      for (const buffer of buffers) pool.release(buffer);
    };
    // Activations, then gradients of other sizes: together more than the peak and an eighth.
    const step = () => {
      pass(40, 10 << 20);
      pass(15, 7 << 20);
    };
    for (let i = 0; i < 4; i++) step();
    const before = allocations;
    step();
    expect(allocations).toBe(before);
  });

  it('keeps nothing free after a reset, nor because of what was in use before it', () => {
    const pool = new BufferPool(memory);
    const used = pool.take(1 << 20);
    pool.retain(used);
    const passing = (bytes: number) => {
      const buffer = pool.take(bytes);
      pool.retain(buffer);
      pool.release(buffer);
      return pool.memory().freeBytes;
    };
    expect(passing(1 << 30)).toBe(1 << 30);
    pool.reset();
    expect(pool.memory()).toMatchObject({ liveBytes: 1 << 20, freeBytes: 0 });
    // The smallest limit of what is kept is 64 MiB.
    expect(passing(1 << 26)).toBe(1 << 26);
    pool.reset();
    expect(pool.memory()).toMatchObject({ liveBytes: 1 << 20, freeBytes: 0 });
  });

  it('keeps a buffer until its last tensor is disposed', () => {
    const pool = new BufferPool(memory);
    const buffer = pool.take(100);
    pool.retain(buffer);
    pool.retain(buffer);
    pool.release(buffer);
    expect(pool.take(100)).not.toBe(buffer);
    pool.release(buffer);
    expect(pool.take(100)).toBe(buffer);
  });
});

describe('the native backend', () => {
  beforeAll(async () => {
    await setBackend('native');
  });

  it('returns arrays that later tensors do not overwrite', () => {
    const x = tf.add(tf.ones([1000]), tf.ones([1000]));
    const values = x.dataSync();
    x.dispose();
    tf.add(tf.ones([1000]), tf.fill([1000], 5)).dispose();
    expect(values.every((value) => value === 2)).toBe(true);
  });

  it('keeps the buffer of a slice after its source is disposed', () => {
    const source = tf.add(tf.ones([1000]), tf.ones([1000]));
    const slice = tf.slice(source, 10, 5);
    source.dispose();
    const other = tf.add(tf.ones([1000]), tf.fill([1000], 5));
    expect([...slice.dataSync()]).toEqual([2, 2, 2, 2, 2]);
    tf.dispose([slice, other]);
  });

  it('never writes to an array of the caller', () => {
    const mine = Float32Array.of(1, 2, 3);
    const x = tf.tensor1d(mine);
    x.dispose();
    tf.add(tf.ones([3]), tf.ones([3]));
    expect([...mine]).toEqual([1, 2, 3]);
  });

  it('allocates nothing once shapes repeat', () => {
    const step = () =>
      tf.tidy(() => {
        const loss = (x: tf.Tensor) => tf.sum(tf.matMul(x as tf.Tensor2D, x as tf.Tensor2D, false, true));
        tf.grad(loss)(tf.add(tf.ones([200, 300]), tf.ones([200, 300]))).dataSync();
      });
    step();
    const { pool } = nativeBackend()!;
    const before = pool.memory();
    for (let i = 0; i < 20; i++) step();
    expect(pool.memory()).toEqual(before);
  });

  it.each(['int32', 'bool'] as const)('casts %s to float32 in memory', (dtype) => {
    const mask = tf.tensor1d([1, 0, 1], dtype);
    const x = tf.tensor2d([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    const targets = tf.tensor1d([0, 1, 0], 'int32');
    const loss = (mask: tf.Tensor) =>
      linearCrossEntropy(x, tf.eye(2), targets, mask as tf.Tensor1D).dataSync()[0];
    expect(loss(mask.toFloat())).toBe(loss(tf.tensor1d([1, 0, 1])));
    expect([...tf.add(mask.toFloat(), mask.toFloat()).dataSync()]).toEqual([2, 0, 2]);
    expect([...tf.add(mask.toInt(), tf.scalar(1, 'int32')).dataSync()]).toEqual([2, 1, 2]);
    expect(mask.dtype).toBe(dtype);
  });

  it('runs other ops as TensorFlow.js does', () => {
    const x = tf.tensor2d([[3, 1, 2]]);
    expect([...tf.topk(x, 2).values.dataSync()]).toEqual([3, 2]);
    expect([...tf.add(tf.scalar(1, 'int32'), tf.tensor1d([1, 2], 'int32')).dataSync()]).toEqual([2, 3]);
    expect([...tf.mul(x, tf.tensor2d([[2], [3]])).dataSync()]).toEqual([6, 2, 4, 9, 3, 6]);
    expect([...tf.mul(x, 2).dataSync()]).toEqual([6, 2, 4]);
  });
});

describe('setBackend', () => {
  it('describes the backend and the reason', async () => {
    const auto = await setBackend('auto');
    expect(auto).toEqual(describeBackend());
    expect(auto).toMatchObject({
      name: 'native',
      reason: expect.stringMatching('^the fastest backend for a CPU'),
    });
    expect(auto.device).toMatch(/, \d+ threads?$/);
    expect(await setBackend('wasm')).toMatchObject({ name: 'wasm', reason: 'selected explicitly' });
    await tf.setBackend('cpu');
    expect(describeBackend()).toMatchObject({ name: 'cpu', reason: 'set through TensorFlow.js' });
  });

  it('refuses an unknown name', async () => {
    await expect(setBackend('cuda' as 'cpu')).rejects.toThrow(BackendError);
    await expect(setBackend('cuda' as 'cpu')).rejects.toThrow(
      "got 'cuda', expected one of auto, xla, webgpu",
    );
  });
});

describe('setPrecision and measurePeak', () => {
  it('need the native backend', async () => {
    await setBackend('cpu');
    expect(() => setPrecision('bfloat16')).toThrow("needs the native, webgpu or xla backend, got 'cpu'");
    expect(() => setPrecision('float32')).not.toThrow();
    expect(await measurePeak()).toBeUndefined();
    await setBackend('native');
    expect(await measurePeak()).toBeGreaterThan(1);
  });
});

it.runIf(process.platform === 'linux')(
  'a discarded buffer gives its memory back before it is collected',
  () => {
    const addon = loadNativeAddon();
    const bytes = 200 << 20;
    const buffer = addon.allocate(bytes);
    new Uint8Array(buffer).fill(1);
    const before = process.memoryUsage.rss();
    addon.discard(buffer);
    expect(before - process.memoryUsage.rss()).toBeGreaterThan(0.9 * bytes);
    // Still a buffer to write into.
    const floats = new Float32Array(buffer).fill(2);
    expect(floats.at(-1)).toBe(2);
  },
);
