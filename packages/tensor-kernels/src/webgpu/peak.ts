import type { WebgpuBackend } from './backend-interface.ts';
import { type Kernel, run, THREADS } from './dispatch.ts';

const CHAINS = [0, 1, 2, 3, 4, 5, 6, 7];
const ROUNDS = 256;
/** Of one thread: a multiplication and an addition for each number of a vec4 in each chain and round. */
const FLOP = 2 * 4 * CHAINS.length * ROUNDS;

/** Multiply-adds in registers, in independent chains. */
const MULTIPLY_ADD: Kernel = {
  key: 'MultiplyAdd',
  reads: {},
  writes: { sums: 'f32' },
  uniforms: { factor: 'f32' },
  code: `
@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let factor = vec4<f32>(uniforms.factor);
  let start = f32(id.x);
  ${CHAINS.map((i) => `var x${i} = vec4<f32>(start + ${i}.0);`).join('\n  ')}
  for (var round = 0u; round < ${ROUNDS}u; round++) {
    ${CHAINS.map((i) => `x${i} = fma(x${i}, factor, factor);`).join('\n    ')}
  }
  sums[id.x] = dot(${CHAINS.map((i) => `x${i}`).join(' + ')}, vec4<f32>(1.0));
}`,
};

/** The adapter's dense multiply-add rate in GFLOP/s without its matrix units, the best of five runs. */
export async function measureGpuPeak(backend: WebgpuBackend): Promise<number> {
  let groups = 16;
  let best = 0;
  for (let counted = 0; counted < 5; ) {
    const sums = backend.makeTensorInfo([groups * THREADS], 'float32');
    const started = performance.now();
    run(backend, MULTIPLY_ADD, { sums }, { factor: 0.5 }, [groups]);
    backend.endComputePassEncoder();
    // A timed kernel has been submitted already.
    if (backend.commandEncoder) backend.submitQueue();
    await backend.queue.onSubmittedWorkDone();
    const seconds = (performance.now() - started) / 1000;
    backend.disposeData(sums.dataId);
    // Long enough that the time to start it does not count; the first run compiles it.
    if (seconds < 0.02 && groups < 32768) groups *= 2;
    else {
      best = Math.max(best, (groups * THREADS * FLOP) / seconds / 1e9);
      counted += 1;
    }
  }
  return best;
}
