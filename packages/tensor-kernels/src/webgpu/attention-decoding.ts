/** Attention while texts are generated: few queries, and keys and values appended to a cache. */
import * as tf from '@tensorflow/tfjs-core';
import { each, SIZES, TILE } from './attention-tiles.ts';
import type { WebgpuBackend } from './backend-interface.ts';
import { elementwise, type Kernel, runElements } from './dispatch.ts';
import type { RowGroup } from './rows.ts';

/** A workgroup of 64 threads for each query and head: a thread scores a key, then sums a channel of values. */
export function fewQueriesKernel(parts: number, group: RowGroup): Kernel {
  const perPart = (f: (part: number) => string) => each(parts, f);
  return {
    key: `AttentionFewQueries_${parts}_${group.key}`,
    extensions: group.extensions,
    reads: { q: 'f32', k: 'f32', v: 'f32' },
    writes: { out: 'f32' },
    uniforms: SIZES,
    code: `
var<workgroup> weights: array<f32, ${TILE}>;
${group.declarations}
${group.combine('largestOf', 'f32', 'max(a, b)')}
${group.combine('sumOf', 'f32', 'a + b')}
@compute @workgroup_size(${TILE})
fn main(@builtin(workgroup_id) group: vec3<u32>, ${group.parameters}) {
  ${group.prologue}
  let t = group.x;
  let h = group.y;
  let b = group.z;
  let g = h / (uniforms.H / uniforms.G);
  let query = uniforms.queryBase + ((b * uniforms.T + t) * uniforms.H + h) * uniforms.D;
  let end = t + uniforms.S - uniforms.T + 1u;
  let first = select(0u, end - uniforms.window, uniforms.window > 0u && end > uniforms.window);
  var peak = -1e30;
  var total = 0.0;
  ${perPart((part) => `var sum${part} = 0.0;`)}
  for (var s0 = first; s0 < end; s0 += ${TILE}u) {
    let key = ((b * uniforms.S + s0 + thread) * uniforms.G + g) * uniforms.D;
    let isInside = s0 + thread < end;
    var score = -2e30;
    if (isInside) {
      score = 0.0;
      for (var d = 0u; d < uniforms.D; d++) { score += q[query + d] * k[key + d]; }
      score *= uniforms.scale;
    }
    let newPeak = max(peak, largestOf(score, thread));
    let weight = select(0.0, exp(score - newPeak), isInside);
    weights[thread] = weight;
    let shrink = exp(peak - newPeak);
    peak = newPeak;
    total = total * shrink + sumOf(weight, thread);
    let count = min(${TILE}u, end - s0);
    ${perPart(
      (part) => `if (${part * TILE}u + thread < uniforms.D) {
      let value = ((b * uniforms.S + s0) * uniforms.G + g) * uniforms.D + ${part * TILE}u + thread;
      var sum = 0.0;
      for (var i = 0u; i < count; i++) { sum += weights[i] * v[value + i * uniforms.G * uniforms.D]; }
      sum${part} = sum${part} * shrink + sum;
    }`,
    )}
    workgroupBarrier();
  }
  ${perPart(
    (part) =>
      `if (${part * TILE}u + thread < uniforms.D) { out[query + ${part * TILE}u + thread] = sum${part} / total; }`,
  )}
}`,
  };
}

/** Copies new keys (or values) `[T, G, D]` of sequence b behind the first `length` rows of its cache. */
export function appendToCache(
  backend: WebgpuBackend,
  fresh: tf.TensorInfo,
  cache: tf.TensorInfo,
  { b, length, count }: { b: number; length: number; count: number },
): void {
  const rowSize = tf.util.sizeFromShape(cache.shape.slice(1));
  const uniforms = { first: b * count, offset: length * rowSize };
  runElements(backend, APPEND, count, { fresh, cache }, uniforms);
}

const APPEND = elementwise(
  'AppendToCache',
  { fresh: 'f32' },
  { cache: 'f32' },
  { first: 'u32', offset: 'u32' },
  `  cache[uniforms.offset + i] = fresh[uniforms.first + i];`,
);
