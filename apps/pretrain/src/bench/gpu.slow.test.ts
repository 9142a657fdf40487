/** The GPU benchmark end to end, with the small sizes of a software rasterizer. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { setBackend, setPrecision } from '@meap/tensor-kernels';
import { describe, expect, it } from 'vitest';

const missing = await setBackend('webgpu').then(
  ({ device }) => {
    if (!device.endsWith('not a GPU)')) return 'it would take minutes on a GPU';
    try {
      setPrecision('float16');
    } catch {
      return 'SwiftShader needs minutes; fixtures/lavapipe.mjs of tensor-kernels runs it';
    }
    return undefined;
  },
  (error: Error) => error.message,
);
if (missing) console.warn(`pnpm bench:gpu is not tested: ${missing}`);

const program = fileURLToPath(new URL('../../dist/bench/gpu.js', import.meta.url));

describe.skipIf(missing)('pnpm bench:gpu', () => {
  it('times products, attention and the kernels of a training step', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [program, '--profile']);
    const rows = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const kernels = rows.filter(({ name }) => name);
    const steps = rows.filter(({ preset }) => preset);
    expect(kernels.length + steps.length).toBe(rows.length);
    expect(kernels.slice(0, 4).map(({ name, precision }) => [name.split(' of ')[0], precision])).toEqual([
      ['tiny: up 32×256 · 256×704', 'float32'],
      ['tiny: down 32×704 · 704×256', 'float32'],
      ['attention', 'float32'],
      ['attention + gradient', 'float32'],
    ]);
    for (const { gflops, of_peak } of kernels) expect(Math.min(gflops, of_peak)).toBeGreaterThan(0);
    expect([kernels.length, steps.length]).toEqual([6, 2]);
    for (const { loss, kernels } of steps) {
      expect(loss).toBeCloseTo(5.19, 1);
      expect(Object.keys(kernels).some((name) => name.startsWith('MatMul'))).toBe(true);
      expect(Number.parseFloat(kernels.AdamW)).toBeGreaterThan(0);
    }
  });
});
